//! The compiling child: real bombs, real limits, real kills.

use crate::support::{checker, compile, eventually, fixture, refused, script, small, wasm};
use lapwing_checks::{
    Net,
    net::{EgressPolicy, IpFamily},
};
use lapwing_wasm::{CompileSettings, PluginHost, PluginReport, PluginSettings};
use std::{fmt::Write, path::Path, time::Duration};
use tokio::{net::TcpListener, time::Instant};

/// A host with an empty cache and these limits for compiling.
fn host(cache: &Path, compile: CompileSettings) -> std::sync::Arc<PluginHost> {
    let settings = PluginSettings {
        cache: Some(cache.join("cache")),
        compile,
        ..small()
    };
    PluginHost::new(settings).unwrap()
}

fn modest() -> CompileSettings {
    CompileSettings {
        memory_mib: 1024,
        cpu_seconds: 4,
        ..compile()
    }
}

/// One function with 2,000 locals that all depend on each other over 20,000 blocks: what the compiler has
/// to keep in mind grows with the product.
fn many_locals() -> String {
    let count = 2000;
    let mut body = "(local i32) ".repeat(count);
    for index in 0..count {
        let to = (7 * index + 3) % count;
        let _ = write!(
            body,
            "local.get {index} i32.const {index} i32.add local.set {to} "
        );
    }
    for round in 0..10 {
        for index in 0..count {
            let to = (13 * index + 5 + round) % count;
            let _ = write!(
                body,
                "(block (br_if 0 (local.get {index})) (local.set {to} (i32.add (local.get {index}) (local.get {to})))) "
            );
        }
    }
    format!("(core module (func (export \"bomb\") {body}))")
}

fn many_functions() -> String {
    let mut functions = String::new();
    for index in 0..200_000 {
        let _ = write!(
            functions,
            "(func (param i32) (result i32) local.get 0 i32.const {index} i32.add)"
        );
    }
    format!("(core module {functions})")
}

/// Memory of this process that is in use, in MiB.
fn resident_mib() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    (resident * 4096) >> 20
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_within_limits_and_the_worker_does_not_notice() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path(), modest());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let net = Net::new(EgressPolicy::default());
    for (name, bomb) in [("locals", many_locals()), ("functions", many_functions())] {
        let file = wasm(&checker(&bomb));
        drop(bomb);
        let size = file.path().metadata().unwrap().len() >> 20;
        let before = resident_mib();
        let mut most = 0;
        let mut connects = 0;
        let loading = host.load_file(file.path());
        tokio::pin!(loading);
        let report: PluginReport = loop {
            tokio::select! {
                report = &mut loading => break report,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let deadline = Instant::now() + Duration::from_secs(5);
                    net.connect("127.0.0.1", port, IpFamily::Any, deadline).await.unwrap();
                    connects += 1;
                    most = most.max(resident_mib());
                }
            }
        };
        let reason = refused(&report);
        // The functions may fit; what they are is then told, for a component that does nothing is no plugin.
        assert!(
            reason.contains("compiling it took more than") || reason.contains("does not fit the interface"),
            "{name}: {reason}"
        );
        if name == "locals" {
            assert!(reason.contains("(`plugins.compile."), "{reason}");
        }
        assert!(
            connects > 0,
            "{name} was refused before a check could run beside it: {reason}"
        );
        let grown = most.saturating_sub(before);
        assert!(
            grown < 64 + 4 * size,
            "{name}: the worker grew by {grown} MiB, {reason}"
        );
    }
    // The host goes on.
    assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
}

#[tokio::test]
async fn memory_and_time_have_limits_that_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = wasm(&checker(&many_locals()));
    for (settings, part) in [
        (
            CompileSettings {
                memory_mib: 256,
                ..compile()
            },
            "256 MiB of memory (`plugins.compile.memory_mib`)",
        ),
        (
            CompileSettings {
                cpu_seconds: 1,
                ..compile()
            },
            "1 s of processor time (`plugins.compile.cpu_seconds`)",
        ),
    ] {
        let report = host(folder.path(), settings).load_file(bomb.path()).await;
        assert!(refused(&report).contains(part), "{part}: {}", refused(&report));
    }
}

/// A program that says its process id and then hangs.
fn hanging(folder: &Path) -> std::path::PathBuf {
    let pid = folder.join("pid");
    script(
        folder,
        &format!(
            "echo $$ > {0}.new; /bin/mv {0}.new {0}; exec /bin/sleep 1000",
            pid.display()
        ),
    )
}

async fn gone(folder: &Path) {
    let pid = std::fs::read_to_string(folder.join("pid")).unwrap();
    let process = Path::new("/proc").join(pid.trim());
    eventually("the child is gone", async || {
        // A zombie is one that was killed.
        std::fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let settings = CompileSettings {
        wall_seconds: 1,
        program: Some(hanging(folder.path())),
        ..compile()
    };
    let report = host(folder.path(), settings).load_file(fixture("echo")).await;
    assert!(
        refused(&report).contains("more than 1 s (`plugins.compile.wall_seconds`)"),
        "{}",
        refused(&report)
    );
    gone(folder.path()).await;
}

#[tokio::test]
async fn a_child_nobody_waits_for_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = CompileSettings {
        program: Some(hanging(folder.path())),
        ..compile()
    };
    let host = host(folder.path(), settings);
    let loading = tokio::spawn(async move { host.load_file(fixture("echo")).await });
    eventually("the child runs", async || folder.path().join("pid").exists()).await;
    loading.abort();
    gone(folder.path()).await;
}

#[tokio::test]
async fn a_compiler_that_does_not_work_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (program, part) in [
        (
            "/nonexistent/compiler",
            "`/nonexistent/compiler` cannot be started",
        ),
        ("/bin/echo", "does not speak this version's language"),
        ("/bin/false", "exit status: 1"),
    ] {
        let settings = CompileSettings {
            program: Some(program.into()),
            ..compile()
        };
        let report = host(folder.path(), settings).load_file(fixture("echo")).await;
        let reason = refused(&report);
        assert!(
            reason.contains("the compiler process failed") && reason.contains(part),
            "{reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_child_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (busy, overlap) = (folder.path().join("busy"), folder.path().join("overlap"));
    let program = script(
        folder.path(),
        &format!(
            "/bin/mkdir {0} || echo twice > {1}\n{2} \"$@\"; code=$?; /bin/rmdir {0}; exit $code",
            busy.display(),
            overlap.display(),
            compile().program.unwrap().display()
        ),
    );
    // The real compiler's parent is then the script, so it is told that its parent is gone.
    let settings = CompileSettings {
        program: Some(program),
        ..compile()
    };
    let host = host(folder.path(), settings);
    let files = ["echo", "empty", "trap", "spin"].map(fixture);
    let reports = futures_util::future::join_all(files.iter().map(|file| host.load_file(file))).await;
    for report in reports {
        assert!(
            refused(&report).contains("the parent is gone"),
            "{}",
            refused(&report)
        );
    }
    assert!(!overlap.exists(), "two children ran at once");
}
