//! What is dropped, replaced, broken or removed, and what serves meanwhile.

use super::{Watched, open, version};
use crate::support::{PLENTY, compile, context, eventually, fixture, script, small};
use lapwing_model::Status;
use lapwing_wasm::{CompileSettings, PluginSettings};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_dropped_replaced_and_removed_takes_effect_by_itself() {
    let watched = Watched::new().await;
    assert!(!watched.serves("fixture-echo") && watched.serves("http"));
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    assert!(watched.serves("fixture-echo"));
    watched.put("echo.wasm", &version("2.0.0"));
    eventually("the new version serves", async || {
        watched.report("echo.wasm").unwrap().version == "2.0.0"
    })
    .await;
    fs::remove_file(watched.path("echo.wasm")).unwrap();
    eventually("its kinds are gone", async || !watched.serves("fixture-echo")).await;
    assert_eq!(watched.state("echo.wasm"), "absent");
    assert!(watched.serves("http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_waited_for_until_it_is_whole() {
    let watched = Watched::new().await;
    let bytes = fs::read(fixture("echo")).unwrap();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    fs::write(watched.path("echo.wasm"), first).unwrap();
    watched.until("echo.wasm", "discovered").await;
    // Longer than a file must rest before it is read, shorter than it is waited for.
    let until = Instant::now() + Duration::from_millis(800);
    while Instant::now() < until {
        assert!(
            !watched.state("echo.wasm").contains("failed"),
            "{}",
            watched.state("echo.wasm")
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut file = fs::File::options()
        .append(true)
        .open(watched.path("echo.wasm"))
        .unwrap();
    std::io::Write::write_all(&mut file, second).unwrap();
    watched.until("echo.wasm", "active").await;

    fs::write(watched.path("half.wasm"), first).unwrap();
    watched.until("half.wasm", "failed: truncated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_new_version_leaves_the_last_good_one_serving() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    for (bytes, why) in [
        (b"(component)".to_vec(), "WebAssembly text"),
        (fs::read(fixture("trap_describe")).unwrap(), "`describe` trapped"),
        (
            fs::read(fixture("clash")).unwrap(),
            "kind `http` of plugin http 0.1.0 is already provided by native",
        ),
    ] {
        watched.put("echo.wasm", &bytes);
        let report = watched.until_degraded("echo.wasm", why).await;
        assert!(report.is_active() && report.version == "1.0.0");
        let executor = watched
            .folder
            .registry()
            .borrow()
            .executor("fixture-echo")
            .unwrap()
            .clone();
        let seen = executor.execute("{}", &context(PLENTY)).await.unwrap();
        assert_eq!(seen.status, Status::Up);
    }
    watched.put("echo.wasm", &version("0.9.0"));
    eventually("a good version, even an older one, ends it", async || {
        let report = watched.report("echo.wasm").unwrap();
        report.version == "0.9.0" && report.degraded.is_none()
    })
    .await;
    watched.put("echo.wasm", b"");
    watched.until_degraded("echo.wasm", "empty").await;
    fs::remove_file(watched.path("echo.wasm")).unwrap();
    eventually("its kinds go with it", async || !watched.serves("fixture-echo")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_checks_end_on_the_code_they_began_with() {
    let watched = Watched::new().await;
    watched.put("slow.wasm", &fs::read(fixture("sleep_then_up")).unwrap());
    watched.until("slow.wasm", "active").await;
    let executor = watched
        .folder
        .registry()
        .borrow()
        .executor("fixture-sleep-then-up")
        .unwrap()
        .clone();
    let running =
        tokio::spawn(async move { executor.execute(r#"{"sleep_ms":1500}"#, &context(PLENTY)).await });
    fs::remove_file(watched.path("slow.wasm")).unwrap();
    eventually("its kinds are gone", async || {
        !watched.serves("fixture-sleep-then-up")
    })
    .await;
    assert!(!running.is_finished());
    assert_eq!(running.await.unwrap().unwrap().message, "slept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_a_second_cause_one_compilation_at_a_time() {
    let scripts = tempfile::tempdir().unwrap();
    let (turn, overlap, count) = (
        scripts.path().join("turn"),
        scripts.path().join("overlap"),
        scripts.path().join("count"),
    );
    // Who is killed (its file changed again) may take a moment to go; who works takes longer than that moment.
    let program = script(
        scripts.path(),
        &format!(
            "exec 9> {0}\nflock -n 9 || {{ sleep 0.2; flock -n 9 || echo twice > {1}; }}\n\
             echo one >> {2}\ncat > /dev/null 9>&-\nsleep 0.5 9>&-\nexit 1",
            turn.display(),
            overlap.display(),
            count.display()
        ),
    );
    let settings = PluginSettings {
        cache: Some(scripts.path().join("cache")),
        compile: CompileSettings {
            program: Some(program),
            ..compile()
        },
        ..small()
    };
    let watched = Watched::with(settings, Arc::new(|_: &_| Vec::new())).await;
    let versions: Vec<_> = (0..10).map(|n| version(&format!("1.0.{n}"))).collect();
    // Each of the seven files is read once in the end; before that only if this loop left it alone for long enough.
    let (mut most, mut changed) = (7, [Instant::now(); 7]);
    for round in 0..1000_usize {
        let file = round % 7;
        watched.put(&format!("echo-{file}.wasm"), &versions[round % 10]);
        let before = std::mem::replace(&mut changed[file], Instant::now());
        most += usize::from(before.elapsed() >= Duration::from_millis(300));
        if round % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for name in 0..7 {
        watched
            .until(
                &format!("echo-{name}.wasm"),
                "failed: the compiler process failed",
            )
            .await;
    }
    let compiled = fs::read_to_string(&count).unwrap().lines().count();
    assert!(
        (7..=most).contains(&compiled) && !overlap.exists(),
        "{compiled} compilations, not 7 to {most}; two at once: {}",
        overlap.exists()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_appears_later_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("plugins");
    let folder = open(&path, small(), Arc::new(|_: &_| Vec::new())).await;
    folder.watch();
    assert!(folder.reports().is_empty());
    let serves = |kind: &str| folder.registry().borrow().executor(kind).is_ok();
    fs::create_dir(&path).unwrap();
    fs::copy(fixture("echo"), path.join("echo.wasm")).unwrap();
    eventually("it serves", async || serves("fixture-echo")).await;

    // Away, it takes nothing down.
    let aside = root.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    let told = || folder.reports().pop().and_then(|report| report.degraded);
    eventually("that it is away is told", async || {
        told().is_some_and(|why| why.starts_with("the plugin folder cannot be read: No such file"))
    })
    .await;
    folder.reload().await.unwrap_err();
    assert!(serves("fixture-echo"));
    fs::rename(&aside, &path).unwrap();
    eventually("that it is back is seen", async || told().is_none()).await;
    assert!(serves("fixture-echo"));

    // Another in its place is what counts, and is watched.
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    eventually("its kinds are gone", async || !serves("fixture-echo")).await;
    fs::copy(fixture("empty"), path.join("empty.wasm")).unwrap();
    eventually("the other folder's serve", async || serves("fixture-empty")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_keeps_changing_keeps_nobody_waiting() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    let noisy = watched.path("noisy.wasm");
    let writing = AbortOnDropHandle::new(tokio::spawn(async move {
        for number in 0_u64.. {
            fs::write(&noisy, number.to_le_bytes()).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }));
    watched.until("noisy.wasm", "discovered").await;
    let path = watched.root.path();
    let other = open(path, small(), Arc::new(|_: &_| Vec::new())).await;
    assert!(other.registry().borrow().executor("fixture-echo").is_ok());
    let reports = watched.folder.reload().await.unwrap();
    assert_eq!(reports.len(), 2);
    drop(writing);
    watched.until("noisy.wasm", "failed: not WebAssembly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_was_killed_is_started_again() {
    let tools = tempfile::tempdir().unwrap();
    let (flag, real) = (tools.path().join("killed"), env!("CARGO_BIN_EXE_lapwing-compile"));
    let flag = flag.display();
    let lines = format!("[ -e {flag} ] && exec {real} \"$@\"\ntouch {flag}\nkill -9 $$");
    let settings = PluginSettings {
        cache: Some(tools.path().join("cache")),
        compile: CompileSettings {
            program: Some(script(tools.path(), &lines)),
            ..compile()
        },
        ..small()
    };
    let watched = Watched::with(settings, Arc::new(|_: &_| Vec::new())).await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched
        .until("echo.wasm", "SIGKILL); it is tried again now and then")
        .await;
    watched.until("echo.wasm", "active").await;
}
