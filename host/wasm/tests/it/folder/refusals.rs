//! What is not taken, and why.

use super::{Watched, version};
use crate::support::{checker, eventually, fixture, small};
use lapwing_wasm::PluginSettings;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
};

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

    // In a folder that anybody writes to nothing new is taken; what serves was read before.
    fs::set_permissions(watched.root.path(), fs::Permissions::from_mode(0o777)).unwrap();
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
    assert!(watched.serves("fixture-echo") && !watched.serves("fixture-empty"));
    fs::set_permissions(watched.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    watched.folder.reload().await.unwrap();
    assert!(watched.serves("fixture-empty"));
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
