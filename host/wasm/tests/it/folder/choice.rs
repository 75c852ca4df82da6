//! Which of several serve: versions, newcomers, switches, approvals.

use super::{Watched, open, patched, version};
use crate::{
    raw::Raw,
    support::{eventually, small},
};
use lapwing_checks::Registry;
use lapwing_wasm::{Approver, Data, PluginFolder, PluginHost, PluginState};
use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

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
    let raw = Raw::check("(i32.const 8192)").component();
    watched.put("z.wasm", &raw);
    watched.until("z.wasm", "active").await;
    // Another plugin with the same kind: a newer one, and one that comes first by its own name and by its file's.
    watched.put("a.wasm", &patched(raw, "raw\x000.1.0", "one\x009.1.0"));
    let why = "failed: kind `fixture-raw` of plugin one 9.1.0 is already provided by plugin raw 0.1.0";
    watched.until("a.wasm", why).await;
    assert_eq!(watched.state("z.wasm"), "active");
    let registry = watched.folder.registry().borrow().clone();
    let serving = registry.executor("fixture-raw").unwrap();
    assert_eq!(serving.info().origin.to_string(), "plugin raw 0.1.0");
    // It gets the kind when it is free.
    fs::remove_file(watched.path("z.wasm")).unwrap();
    watched.until("a.wasm", "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_stays_with_its_plugin_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    let raw = Raw::check("(i32.const 8192)").component();
    let other = patched(raw.clone(), "raw\x000.1.0", "one\x009.1.0");
    fs::write(root.path().join("z.wasm"), raw).unwrap();
    let open = async || {
        let data = Arc::new(Data::open(Some(&state.path().join("data"))).unwrap());
        let host = PluginHost::new(small()).unwrap();
        let approver: Approver = Arc::new(|_: &_| Vec::new());
        let folder = PluginFolder::open(host, root.path(), Registry::default(), data, approver)
            .await
            .unwrap();
        folder.watch();
        // The end of one look is kept at the next.
        folder.reload().await.unwrap();
        let registry = folder.registry().borrow().clone();
        let executor = registry.executor("fixture-raw").unwrap();
        executor.info().origin.to_string()
    };
    assert_eq!(open().await, "plugin raw 0.1.0");
    // It comes first by its name and by its file's, and nothing serves yet.
    fs::write(root.path().join("a.wasm"), other).unwrap();
    assert_eq!(open().await, "plugin raw 0.1.0");
    fs::remove_file(root.path().join("z.wasm")).unwrap();
    assert_eq!(open().await, "plugin one 9.1.0", "free again");
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
async fn a_file_that_was_switched_off_stays_off_whatever_it_calls_itself() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    let digest = watched.report("echo.wasm").unwrap().digest.unwrap();
    watched.folder.set_enabled("fixture-echo", false).unwrap();
    let data = watched.folder.data();
    assert!(data.decisions().is_disabled("fixture-other", &digest));
    watched.folder.set_enabled("fixture-echo", true).unwrap();
    assert!(!data.decisions().is_disabled("fixture-echo", &digest));

    // As if it had called itself otherwise when it was switched off.
    data.change(|decisions| decisions.disable("fixture-other", [digest]))
        .unwrap();
    watched.folder.decide();
    assert_eq!(watched.state("echo.wasm"), "disabled");
    watched.put("echo.wasm", &version("2.0.0"));
    watched.until("echo.wasm", "active").await;
    watched.put("echo.wasm", &version("1.0.0"));
    let report = watched.until_degraded("echo.wasm", "new version: disabled").await;
    assert_eq!(report.version, "2.0.0");
    watched.folder.set_enabled("fixture-echo", true).unwrap();
    let report = watched.report("echo.wasm").unwrap();
    assert_eq!((report.version.as_str(), report.degraded), ("1.0.0", None));
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
async fn the_last_good_version_comes_back_when_it_may_serve_again() {
    let watched = Watched::new().await;
    watched.put("echo.wasm", &version("1.0.0"));
    watched.until("echo.wasm", "active").await;
    watched.put("echo.wasm", b"junk");
    watched.until_degraded("echo.wasm", "not WebAssembly").await;
    watched.folder.set_enabled("fixture-echo", false).unwrap();
    assert!(!watched.serves("fixture-echo"), "{}", watched.state("echo.wasm"));
    watched.folder.set_enabled("fixture-echo", true).unwrap();
    assert!(watched.serves("fixture-echo"), "{}", watched.state("echo.wasm"));

    let lock = watched.path("plugins.lock");
    fs::write(&lock, "# nothing\n").unwrap();
    eventually("nothing serves", async || !watched.serves("fixture-echo")).await;
    fs::remove_file(&lock).unwrap();
    eventually("it serves again", async || watched.serves("fixture-echo")).await;
    assert_eq!(watched.report("echo.wasm").unwrap().version, "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_whoever_serves_from_the_folder() {
    let watched = Watched::new().await;
    let draft = watched.folder.draft().unwrap();
    fs::write(draft.path(), version("1.0.0")).unwrap();
    let digest = watched
        .folder
        .host()
        .load_file(draft.path())
        .await
        .digest
        .unwrap();
    let target = watched.folder.place(draft, "fixture-echo", &digest).unwrap();
    watched.until("fixture-echo.wasm", "disabled").await;
    // Another worker, with decisions of its own; by another name, too.
    fs::copy(&target, watched.path("copy.wasm")).unwrap();
    let other = open(watched.root.path(), small(), Arc::new(|_: &_| Vec::new())).await;
    let states: Vec<_> = other.reports().into_iter().map(|report| report.state).collect();
    assert_eq!(states, [PluginState::Disabled, PluginState::Disabled]);
    fs::remove_file(watched.path("copy.wasm")).unwrap();
    other.reload().await.unwrap();
    // There is another of its name: nobody said which.
    watched.put("own.wasm", &version("0.9.0"));
    watched.until("own.wasm", "active").await;
    watched.folder.set_enabled("fixture-echo", true).unwrap();
    assert_eq!(watched.state("fixture-echo.wasm"), "disabled");
    assert!(watched.folder.enable_file("fixture-echo", &digest).unwrap());
    assert_eq!(watched.state("fixture-echo.wasm"), "active");
    other.reload().await.unwrap();
    let version = |folder: &PluginFolder| {
        let registry = folder.registry().borrow().clone();
        registry
            .executor("fixture-echo")
            .unwrap()
            .info()
            .origin
            .to_string()
    };
    assert_eq!(version(&other), "plugin fixture-echo 1.0.0");

    let draft = watched.folder.draft().unwrap();
    let there = watched.folder.place(draft, "fixture-echo", &"0".repeat(64));
    assert_eq!(there.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    watched.folder.withdraw(&target, &digest).unwrap();
    watched.until("fixture-echo.wasm", "absent").await;
}
