//! What is not taken, and why.

use super::{Watched, version};
use crate::support::{checker, eventually, fixture, small};
use lapwing_wasm::PluginSettings;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown, symlink},
    },
    path::Path,
    sync::Arc,
};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
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
    old("code.cwasm", &code);
    // By its name: what is in it could be a plugin.
    old("text.wat", &whole);
    old("other.wasm", &wat::parse_str(checker("")).unwrap());
    old("open.wasm", &whole);
    mode(&watched.path("open.wasm"), 0o646);
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
        ("code.cwasm", "failed: precompiled code is not accepted"),
        ("text.wat", "failed: WebAssembly text"),
        ("other.wasm", "failed: does not fit the interface"),
        (
            "open.wasm",
            "failed: writable by others (mode 646); take that away with `chmod go-w`",
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
    mode(&watched.path("open.wasm"), 0o644);
    eventually("it serves under one of its names", async || {
        watched.serves("fixture-echo")
    })
    .await;

    // In a folder that anybody writes to nothing new is taken; what serves was read before, and the report says so.
    mode(watched.root.path(), 0o777);
    watched.put("new.wasm", &fs::read(fixture("empty")).unwrap());
    watched.folder.reload().await.unwrap();
    let root = fs::canonicalize(watched.root.path()).unwrap();
    let why = format!(
        "failed: its folder `{}` is writable by others (mode 777)",
        root.display()
    );
    for name in ["new.wasm", "elf.wasm"] {
        let state = watched.state(name);
        assert!(state.starts_with(&why), "{name}: {state}");
    }
    let told = watched.folder.reports();
    let told = told.iter().filter_map(|report| report.degraded.as_deref());
    assert!(
        told.clone().any(|told| told.contains(&why)),
        "{:?}",
        told.collect::<Vec<_>>()
    );
    assert!(watched.serves("fixture-echo") && !watched.serves("fixture-empty"));
    mode(watched.root.path(), 0o755);
    eventually("the new mode is seen", async || {
        watched.serves("fixture-empty")
            && watched
                .folder
                .reports()
                .iter()
                .all(|report| report.degraded.is_none())
    })
    .await;
    watched.until("elf.wasm", "failed: not WebAssembly").await;
}

/// An access list (acl(5)) by which user 12345 may write; the mode's group bits are its mask then.
fn share(path: &std::path::Path) -> rustix::io::Result<()> {
    let entry = |tag: u16, right: u16, id: u32| {
        [&tag.to_le_bytes()[..], &right.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let nobody = u32::MAX;
    let list = [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 6, nobody),
        entry(0x02, 6, 12_345),
        entry(0x04, 4, nobody),
        entry(0x10, 6, nobody),
        entry(0x20, 4, nobody),
    ]
    .concat();
    let name = "system.posix_acl_access";
    rustix::fs::setxattr(path, name, &list, rustix::fs::XattrFlags::empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_an_access_list_names_is_another_too() {
    let watched = Watched::new().await;
    fs::copy(fixture("empty"), watched.path("empty.wasm")).unwrap();
    watched.until("empty.wasm", "active").await;
    match share(&watched.path("empty.wasm")) {
        // Not every file system has them.
        Err(rustix::io::Errno::NOTSUP) => return,
        shared => shared.unwrap(),
    }
    watched
        .until_degraded("empty.wasm", "failed: writable by others (mode 664)")
        .await;
    mode(&watched.path("empty.wasm"), 0o644);
    watched.folder.reload().await.unwrap();
    let report = watched.report("empty.wasm").unwrap();
    assert!(report.is_active() && report.degraded.is_none(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_put_another_folder_in_the_place_of_ours_is_heeded() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("plugins");
    fs::create_dir(&root).unwrap();
    fs::copy(fixture("empty"), root.join("empty.wasm")).unwrap();
    let folder = super::open(&root, small(), Arc::new(|_: &_| Vec::new())).await;
    assert!(folder.registry().borrow().executor("fixture-empty").is_ok());
    mode(above.path(), 0o777);
    fs::copy(fixture("echo"), root.join("echo.wasm")).unwrap();
    let why = folder.reload().await.unwrap_err().to_string();
    assert!(
        why.contains("others may put another in its place (mode 777)"),
        "{why}"
    );
    let registry = folder.registry().borrow().clone();
    assert!(registry.executor("fixture-empty").is_ok(), "what serves goes on");
    assert!(registry.executor("fixture-echo").is_err());
    mode(above.path(), 0o755);
    folder.reload().await.unwrap();
    assert!(folder.registry().borrow().executor("fixture-echo").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_could_change_is_not_loaded_wherever_it_lies() {
    let watched = Watched::new().await;
    let inner = watched.path("inner");
    fs::create_dir(&inner).unwrap();
    mode(&inner, 0o777);
    fs::copy(fixture("echo"), inner.join("echo.wasm")).unwrap();
    symlink("inner/echo.wasm", watched.path("linked.wasm")).unwrap();
    watched.until("linked.wasm", "failed: its folder `").await;
    let state = watched.state("linked.wasm");
    assert!(
        state.contains("/inner` is writable by others (mode 777)"),
        "{state}"
    );
    // Only the folder of what the link leads to changes. Where all write but none to another's file, ours are safe.
    for fit in [0o755, 0o1777] {
        mode(&inner, 0o777);
        watched.folder.reload().await.unwrap();
        let report = watched.report("linked.wasm").unwrap();
        assert!(
            !report.is_active() || report.degraded.is_some(),
            "{:?}",
            report.state
        );
        mode(&inner, fit);
        watched.folder.reload().await.unwrap();
        let report = watched.report("linked.wasm").unwrap();
        assert!(
            report.is_active() && report.degraded.is_none(),
            "{:?} {:?}",
            report.state,
            report.degraded
        );
    }

    let ours = watched.path("ours.wasm");
    fs::copy(fixture("empty"), &ours).unwrap();
    mode(&ours, 0o664);
    // Who is not root cannot give files away.
    let me = fs::metadata(&ours).unwrap();
    let own = std::os::unix::fs::MetadataExt::uid(&me);
    if chown(&ours, None, Some(12_345)).is_err() {
        return;
    }
    watched
        .until("ours.wasm", "failed: writable by others (mode 664)")
        .await;
    // A group of the same number is the user's alone.
    chown(&ours, None, Some(own)).unwrap();
    watched.until("ours.wasm", "active").await;
    chown(&ours, Some(12_345), None).unwrap();
    watched
        .until_degraded("ours.wasm", "failed: belongs to user 12345")
        .await;
    // Whose folder it is could replace its files anyway, and the operator chose the folder.
    chown(watched.root.path(), Some(12_345), None).unwrap();
    watched.folder.reload().await.unwrap();
    let report = watched.report("ours.wasm").unwrap();
    assert!(report.degraded.is_none(), "{:?}", report.degraded);
    chown(&inner, Some(54_321), None).unwrap();
    let report = watched
        .until_degraded("linked.wasm", "failed: its folder `")
        .await;
    let why = report.degraded.unwrap();
    assert!(why.contains("` belongs to user 54321"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_name_that_cannot_be_shown_is_refused_and_listed() {
    let watched = Watched::new().await;
    for name in [
        &b"\xff.wasm"[..],
        b"a\nINFO b.wasm",
        "gnp\u{202e}.wasm".as_bytes(),
    ] {
        fs::copy(fixture("echo"), watched.root.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let reports = watched.folder.reload().await.unwrap();
    let listed = serde_json::to_value(&reports).unwrap();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 3);
    for report in listed {
        let reason = report["reason"].as_str().unwrap();
        assert!(
            report["state"] == "failed" && reason.starts_with("its name "),
            "{report}"
        );
    }
    let shown = |name: &str| {
        listed
            .iter()
            .any(|report| report["path"].as_str().unwrap().ends_with(name))
    };
    assert!(shown("/\u{fffd}.wasm") && shown("/a\nINFO b.wasm"), "{listed:?}");
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
