//! The cache: compiled once, loaded from then on; what was harmed is compiled again and never run.

use crate::support::{PLENTY, compile, context, fixture, refused, small};
use lapwing_checks::Registry;
use lapwing_wasm::{CompileSettings, HostError, PluginHost, PluginSettings};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

fn settings(cache: &Path) -> PluginSettings {
    PluginSettings {
        cache: Some(cache.to_owned()),
        ..small()
    }
}

/// A host that cannot compile.
fn idle(cache: &Path) -> Arc<PluginHost> {
    PluginHost::new(PluginSettings {
        compile: CompileSettings {
            program: Some("/nonexistent".into()),
            ..compile()
        },
        ..settings(cache)
    })
    .unwrap()
}

/// A folder whose cache has the `echo` fixture.
async fn filled() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let host = PluginHost::new(settings(&cache)).unwrap();
    assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
    (folder, cache)
}

fn file(cache: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(cache).unwrap().map(|file| file.unwrap().path());
    let mut files = files.filter(|path| path.extension().is_some_and(|found| found == extension));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

#[tokio::test]
async fn what_is_cached_is_not_compiled_again_and_runs() {
    let (_folder, cache) = filled().await;
    let host = idle(&cache);
    let mut report = host.load_file(fixture("echo")).await;
    assert_eq!(report.failure(), None);
    let mut registry = Registry::default();
    report.register(&mut registry);
    let executor = registry.executor("fixture-echo").unwrap();
    let seen = executor.execute(r#"{"a":1}"#, &context(PLENTY)).await.unwrap();
    assert_eq!(seen.message, "echo");
    assert!(refused(&host.load_file(fixture("trap")).await).contains("cannot be started"));
}

#[tokio::test]
async fn the_cache_is_for_its_user_alone() {
    let (_folder, cache) = filled().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache), 0o700);
    assert_eq!(mode(&file(&cache, "cwasm")), 0o600);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    let error = PluginHost::new(settings(&cache)).unwrap_err();
    assert!(matches!(error, HostError::Cache(_)));
    let text = error.to_string();
    assert!(
        text.contains(&cache.display().to_string()) && text.contains("chmod 700"),
        "{text}"
    );
}

#[tokio::test]
async fn a_flipped_byte_is_noticed_wherever_it_is() {
    for extension in ["cwasm", "json"] {
        let (_folder, cache) = filled().await;
        let harmed = file(&cache, extension);
        let whole = fs::read(&harmed).unwrap();
        for place in [0, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            fs::write(&harmed, &bytes).unwrap();
            let report = idle(&cache).load_file(fixture("echo")).await;
            assert!(
                refused(&report).contains("the compiler process failed"),
                "{extension} {place}"
            );
            let host = PluginHost::new(settings(&cache)).unwrap();
            assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
            assert_eq!(
                idle(&cache).load_file(fixture("echo")).await.failure(),
                None,
                "kept anew"
            );
        }
    }
}

#[tokio::test]
async fn half_an_entry_is_none() {
    for extension in ["cwasm", "json"] {
        let (_folder, cache) = filled().await;
        let harmed = file(&cache, extension);
        let bytes = fs::read(&harmed).unwrap();
        for left in [0, 10, bytes.len() / 2] {
            fs::write(&harmed, &bytes[..left]).unwrap();
            let host = PluginHost::new(settings(&cache)).unwrap();
            assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
        }
        fs::remove_file(file(&cache, extension)).unwrap();
        let host = PluginHost::new(settings(&cache)).unwrap();
        assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
    }
}

#[tokio::test]
async fn code_of_another_engine_is_not_run_even_with_the_right_digests() {
    let (_folder, cache) = filled().await;
    let engine = wasmtime::Engine::default();
    let code = engine
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    let about = fs::read_to_string(file(&cache, "json")).unwrap();
    let (_, json) = about.split_once('\n').unwrap();
    let old = blake3::hash(&fs::read(file(&cache, "cwasm")).unwrap()).to_hex();
    assert!(json.contains(old.as_str()));
    let json = json.replace(old.as_str(), blake3::hash(&code).to_hex().as_str());
    let sum = blake3::hash(json.as_bytes()).to_hex();
    fs::write(file(&cache, "json"), format!("{sum}\n{json}")).unwrap();
    fs::write(file(&cache, "cwasm"), &code).unwrap();
    let host = PluginHost::new(settings(&cache)).unwrap();
    assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
    assert_ne!(fs::read(file(&cache, "cwasm")).unwrap(), code, "compiled anew");
}

#[tokio::test]
async fn limits_of_today_hold_for_what_was_compiled_yesterday() {
    let (_folder, cache) = filled().await;
    let mut settings = settings(&cache);
    settings.limits.memory_mib = 1;
    let report = PluginHost::new(settings)
        .unwrap()
        .load_file(fixture("echo"))
        .await;
    assert!(
        refused(&report).contains("the limit is 1 MiB"),
        "{}",
        refused(&report)
    );
}

#[tokio::test]
async fn without_a_folder_of_its_own_the_host_makes_do() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for cache in [None, Some(file.path().join("cannot-be"))] {
        let host = PluginHost::new(PluginSettings { cache, ..small() }).unwrap();
        assert_eq!(host.load_file(fixture("echo")).await.failure(), None);
    }
}
