//! The watched folder: what is dropped, replaced, broken, removed, and what serves meanwhile.

use crate::support::{PLENTY, checker, compile, context, eventually, fixture, script, small};
use lapwing_checks::{Registry, native};
use lapwing_model::Status;
use lapwing_wasm::{
    Approver, CompileSettings, Data, PluginFolder, PluginHost, PluginReport, PluginSettings, PluginState,
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// A plugin folder that is watched.
struct Watched {
    folder: PluginFolder,
    root: tempfile::TempDir,
}

impl Watched {
    async fn new() -> Self {
        Self::with(small(), Arc::new(|_: &_| Vec::new())).await
    }

    async fn with(settings: PluginSettings, approver: Approver) -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = open(root.path(), settings, approver).await;
        folder.watch();
        Self { folder, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Puts bytes there as careful programs do: beside, then renamed.
    fn put(&self, name: &str, bytes: &[u8]) {
        let draft = self.path(".draft");
        fs::write(&draft, bytes).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    fn report(&self, name: &str) -> Option<PluginReport> {
        let path = self.path(name);
        self.folder
            .reports()
            .into_iter()
            .find(|report| report.path == path)
    }

    fn state(&self, name: &str) -> String {
        self.report(name)
            .map_or_else(|| "absent".to_owned(), |report| report.state.to_string())
    }

    fn serves(&self, kind: &str) -> bool {
        self.folder.registry().borrow().executor(kind).is_ok()
    }

    async fn until(&self, name: &str, what: &str) {
        let limit = Instant::now() + Duration::from_secs(20);
        while !self.state(name).contains(what) {
            assert!(
                Instant::now() < limit,
                "`{name}` is {}, not {what}",
                self.state(name)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_degraded(&self, name: &str, what: &str) -> PluginReport {
        let limit = Instant::now() + Duration::from_secs(20);
        loop {
            let report = self.report(name).unwrap();
            if report.degraded.as_deref().is_some_and(|why| why.contains(what)) {
                return report;
            }
            assert!(
                Instant::now() < limit,
                "{:?} {:?}, not {what}",
                report.state,
                report.degraded
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn open(path: &Path, settings: PluginSettings, approver: Approver) -> PluginFolder {
    let host = PluginHost::new(settings).unwrap();
    let mut base = Registry::default();
    native::register(&mut base).unwrap();
    PluginFolder::open(host, path, base, Arc::new(Data::in_memory()), approver)
        .await
        .unwrap()
}

/// The `echo` fixture in another version.
fn version(version: &str) -> Vec<u8> {
    let mut bytes = fs::read(fixture("echo")).unwrap();
    assert_eq!(version.len(), 5);
    let places: Vec<usize> = (0..bytes.len() - 5)
        .filter(|&at| &bytes[at..at + 5] == b"0.1.0")
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 5].copy_from_slice(version.as_bytes());
    }
    bytes
}

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
async fn of_two_files_of_one_plugin_the_newer_version_serves() {
    let watched = Watched::new().await;
    watched.put("echo-2.wasm", &version("2.0.0"));
    watched.until("echo-2.wasm", "active").await;
    watched.put("echo-1.wasm", &version("1.9.9"));
    watched
        .until(
            "echo-1.wasm",
            "superseded: version 2.0.0 of the same plugin serves from `echo-2.wasm`",
        )
        .await;
    watched.put("echo-3.wasm", &version("3.0.0"));
    watched.until("echo-3.wasm", "active").await;
    watched.until("echo-2.wasm", "superseded").await;
    fs::remove_file(watched.path("echo-3.wasm")).unwrap();
    watched.until("echo-2.wasm", "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_takes_no_kind_from_who_serves_it() {
    let watched = Watched::new().await;
    watched.put("z.wasm", &version("1.0.0"));
    watched.until("z.wasm", "active").await;
    // Another plugin with the same kind, and a name that sorts first.
    let mut other = fs::read(fixture("echo")).unwrap();
    let name = b"fixture-echo";
    let places: Vec<usize> = (0..other.len() - name.len())
        .filter(|&at| other[at..].starts_with(name))
        .collect();
    let before = watched.report("z.wasm").unwrap();
    assert_eq!(before.name, "fixture-echo");
    // The name of the fixture and of its kind are one text in the file, so another kind tells the same: nothing clashes.
    for at in places {
        other[at..at + name.len()].copy_from_slice(b"fixture-ecko");
    }
    watched.put("a.wasm", &other);
    watched.until("a.wasm", "active").await;
    assert!(watched.serves("fixture-ecko") && watched.serves("fixture-echo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_switched_off_and_on_by_its_name() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    watched.folder.set_enabled("fixture-echo", false).unwrap();
    assert_eq!(watched.state("echo.wasm"), "disabled");
    assert!(!watched.serves("fixture-echo"));
    watched.put("echo.wasm", &version("2.0.0"));
    eventually("the new version is off, too", async || {
        let report = watched.report("echo.wasm").unwrap();
        report.version == "2.0.0" && report.state == PluginState::Disabled
    })
    .await;
    watched.folder.set_enabled("fixture-echo", true).unwrap();
    assert!(watched.serves("fixture-echo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_approved_waits_and_its_predecessor_serves() {
    let (asking, asks) = (Arc::new(AtomicBool::new(false)), "hosts = [\"db.internal:5432\"]");
    let approver: Approver = {
        let asking = asking.clone();
        Arc::new(move |candidate| {
            let more = candidate.version == "2.0.0" && asking.load(Ordering::SeqCst);
            assert!(candidate.digest.len() == 64 && candidate.name == "fixture-echo");
            if more { vec![asks.to_owned()] } else { Vec::new() }
        })
    };
    asking.store(true, Ordering::SeqCst);
    let watched = Watched::with(small(), approver).await;
    watched.put("echo.wasm", &version("2.0.0"));
    watched
        .until("echo.wasm", "pending-approval: hosts = [\"db.internal:5432\"]")
        .await;
    assert!(!watched.serves("fixture-echo"));
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    watched.put("echo.wasm", &version("2.0.0"));
    let report = watched.until_degraded("echo.wasm", "pending-approval").await;
    assert_eq!(report.version, "1.0.0");
    let pending = report.pending.unwrap();
    assert_eq!(
        (pending.version.as_str(), pending.asks.as_slice()),
        ("2.0.0", &[asks.to_owned()][..])
    );
    asking.store(false, Ordering::SeqCst);
    watched.folder.decide();
    let report = watched.report("echo.wasm").unwrap();
    assert_eq!((report.version.as_str(), report.degraded), ("2.0.0", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sort_of_unfit_file_is_refused_by_name() {
    let watched = Watched::new().await;
    let outside = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("echo")).unwrap();
    fs::write(outside.path().join("echo.wasm"), &whole).unwrap();
    let old = |name: &str, bytes: &[u8]| watched.put(name, bytes);
    old("text.wasm", b"(component)");
    old("core.wasm", &wat::parse_str("(module)").unwrap());
    old("elf.wasm", b"\x7fELF\x02\x01\x01");
    let code = wasmtime::Engine::default()
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    old("code.wasm", &code);
    old("other.wasm", &wat::parse_str(checker("")).unwrap());
    old("open.wasm", &whole);
    fs::set_permissions(watched.path("open.wasm"), fs::Permissions::from_mode(0o646)).unwrap();
    fs::create_dir(watched.path("folder.wasm")).unwrap();
    symlink(outside.path().join("echo.wasm"), watched.path("link.wasm")).unwrap();
    symlink(outside.path().join("none"), watched.path("dangling.wasm")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        watched.path("fifo.wasm"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    for (name, part) in [
        ("text.wasm", "failed: WebAssembly text"),
        ("core.wasm", "failed: a core module"),
        ("elf.wasm", "failed: not WebAssembly"),
        ("code.wasm", "failed: precompiled code is not accepted"),
        ("other.wasm", "failed: does not fit the interface"),
        (
            "open.wasm",
            "failed: writable by others (mode 646); take that away with `chmod o-w`",
        ),
        ("folder.wasm", "failed: not a regular file"),
        ("link.wasm", "failed: a link out of the plugin folder, to `"),
        ("dangling.wasm", "failed: cannot be read"),
        ("fifo.wasm", "failed: not a regular file"),
    ] {
        watched.until(name, part).await;
    }
    // A link within the folder is a file like any other, and what is mended is taken up.
    symlink("open.wasm", watched.path("within.wasm")).unwrap();
    watched.until("within.wasm", "failed: writable by others").await;
    fs::set_permissions(watched.path("open.wasm"), fs::Permissions::from_mode(0o644)).unwrap();
    eventually("it serves under one of its names", async || {
        watched.serves("fixture-echo")
    })
    .await;

    fs::set_permissions(watched.root.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let reports = watched.folder.reload().await.unwrap();
    let refused = reports.iter().filter(|report| {
        report
            .failure()
            .is_some_and(|reason| reason.contains("is writable by others (mode 777)"))
    });
    assert!(refused.count() > 0 || !watched.serves("fixture-echo"));
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
    let begun = Instant::now();
    for round in 0..1000_usize {
        watched.put(&format!("echo-{}.wasm", round % 7), &versions[round % 10]);
        if round % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let changing = begun.elapsed();
    for name in 0..7 {
        watched
            .until(
                &format!("echo-{name}.wasm"),
                "failed: the compiler process failed",
            )
            .await;
    }
    assert!(!overlap.exists(), "two compilations at once");
    let compiled = fs::read_to_string(&count).unwrap().lines().count();
    assert!(
        compiled < 200,
        "{compiled} compilations for 1000 changes in {changing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_appears_later_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("plugins");
    let folder = open(&path, small(), Arc::new(|_: &_| Vec::new())).await;
    folder.watch();
    assert!(folder.reports().is_empty());
    let serves = || folder.registry().borrow().executor("fixture-echo").is_ok();
    for _ in 0..2 {
        fs::create_dir(&path).unwrap();
        fs::copy(fixture("echo"), path.join("echo.wasm")).unwrap();
        eventually("it serves", async || serves()).await;
        fs::remove_dir_all(&path).unwrap();
        folder.reload().await.unwrap();
        assert!(!serves());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_and_signatures_are_asked_before_anything_is_compiled() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    assert_eq!(lapwing_wasm::trust::pins::lock(watched.root.path()).unwrap(), 1);
    watched.put("echo.wasm", &version("2.0.0"));
    let report = watched
        .until_degraded("echo.wasm", "not pinned in `plugins.lock`")
        .await;
    let line = report.degraded.unwrap();
    let line = line.split('`').nth(3).unwrap().to_owned();
    assert!(line.ends_with("  echo.wasm"), "{line}");
    watched.put("new.wasm", &fs::read(fixture("empty")).unwrap());
    watched.until("new.wasm", "failed: not pinned").await;
    // What the refusal says to add is what helps.
    let lock = watched.path("plugins.lock");
    let text = fs::read_to_string(&lock).unwrap();
    fs::write(&lock, format!("{text}{line}\n")).unwrap();
    eventually("the pinned version serves", async || {
        watched.report("echo.wasm").unwrap().version == "2.0.0"
    })
    .await;
    // What is no longer pinned no longer serves.
    fs::write(&lock, "# nothing\n").unwrap();
    eventually("nothing serves", async || !watched.serves("fixture-echo")).await;
    fs::remove_file(&lock).unwrap();
    eventually("all serve", async || {
        watched.serves("fixture-echo") && watched.serves("fixture-empty")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_plugin_is_not_loaded_where_signatures_are_required() {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let settings = PluginSettings {
        trusted_keys: vec![pair.pk.to_base64()],
        require_signed: true,
        ..small()
    };
    let watched = Watched::with(settings, Arc::new(|_: &_| Vec::new())).await;
    let bytes = version("1.0.0");
    watched.put("echo.wasm", &bytes);
    watched
        .until("echo.wasm", "failed: signature `echo.wasm.minisig` is missing")
        .await;
    let signature = minisign::sign(None, &pair.sk, std::io::Cursor::new(&bytes), None, None).unwrap();
    fs::write(watched.path("echo.wasm.minisig"), signature.to_bytes()).unwrap();
    watched.until("echo.wasm", "active").await;
    watched.put("echo.wasm", &version("2.0.0"));
    let report = watched
        .until_degraded("echo.wasm", "fits none of `plugins.trusted_keys`")
        .await;
    assert_eq!(report.version, "1.0.0");
}
