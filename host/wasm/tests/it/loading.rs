//! Files that are no plugins: each is refused with its own reason and stops nothing else.

use crate::{
    raw::Raw,
    support::{checker, dist, fixture, refused, small, wasm},
};
use lapwing_checks::{Registry, native};
use lapwing_wasm::{PluginHost, PluginReport, PluginSettings, RunLimits};

/// Loads one component given as text.
async fn text(host: &PluginHost, text: &str) -> PluginReport {
    let file = wasm(text);
    host.load_file(file.path()).await
}

#[tokio::test]
async fn unfit_descriptions_are_refused() {
    let settings = PluginSettings {
        limits: RunLimits {
            describe_cpu_ms: 100,
            ..RunLimits::default()
        },
        ..small()
    };
    let host = PluginHost::new(settings).unwrap();
    for (name, part) in [
        ("spin_describe", "`describe` used up its processor time (100 ms"),
        ("trap_describe", "`describe` trapped"),
        (
            "nondeterministic_describe",
            "answers differently at another time, or by chance",
        ),
        (
            "late_describe",
            "answers differently at another time, or by chance",
        ),
        ("waiting_describe", "`describe` must not"),
        ("bad_kind_name", "kind name `Fixture Kind!` does not match ^[a-z]"),
        ("no_kinds", "provides 0 kinds"),
        ("broken_schema", "config-schema: "),
        ("no_json_schema", "config-schema is no JSON"),
        (
            "remote_schema",
            "`$ref` to `https://schemas.example.com/config.json`",
        ),
        ("huge_schema", "larger than 64 KiB"),
        ("bad_example", "example-config does not fit the schema"),
    ] {
        let report = host.load_file(fixture(name)).await;
        let reason = refused(&report);
        assert!(reason.contains(part), "{name}: {reason}");
        assert!(report.digest.is_some() && report.size_bytes.is_some());
    }
}

#[tokio::test]
async fn names_that_stand_for_something_else_are_refused() {
    let host = PluginHost::new(small()).unwrap();
    for (name, why) in [("reload", "cannot be a plugin's name"), (" ", "has no name")] {
        let mut guest = Raw::check("(i32.const 8192)");
        guest.name = name;
        let report = host.load_file(guest.file().path()).await;
        assert!(refused(&report).contains(why), "{name}: {:?}", report.state);
    }
}

#[tokio::test]
async fn slips_are_warned_of_and_do_not_keep_a_file_from_loading() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("careless")).await;
    assert_eq!(report.failure(), None);
    let warnings = report.about.unwrap().warnings;
    assert!(
        warnings.len() == 4
            && warnings[0].contains("mark `host`")
            && warnings[1].contains("does not mark `port` as a port")
            && warnings[2].contains("did you mean `net.tcp`?"),
        "{warnings:?}"
    );
    for sound in ["steps", "greedy", "traveller"] {
        let report = host.load_file(fixture(sound)).await;
        assert_eq!(report.about.unwrap().warnings, [""; 0], "{sound}");
    }
    for sound in ["smtp", "domain-expiry", "game-server"] {
        let report = host.load_file(dist().join(sound).with_extension("wasm")).await;
        assert_eq!(report.about.unwrap().warnings, [""; 0], "{sound}");
    }
}

#[tokio::test]
async fn a_description_does_not_tell_how_fast_this_machine_is() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(fixture("hurried_describe")).await;
    assert_eq!(report.failure(), None);
    assert_eq!(report.kinds, ["fixture-hurried-1000"]);
}

#[tokio::test]
async fn components_of_another_world_are_refused() {
    let host = PluginHost::new(small()).unwrap();
    for (component, part) in [
        (
            "(component)".to_owned(),
            "does not export `lapwing:plugin/checker`",
        ),
        ("(module)".to_owned(), "core module"),
        (
            r#"(component (import "lapwing:plugin/log@2.0.0" (instance)))"#.to_owned(),
            "built for lapwing:plugin@2.0.0, this worker supports 1.0",
        ),
        (
            r#"(component (import "evil:host/shell@1.0.0" (instance)))"#.to_owned(),
            "imports `evil:host/shell@1.0.0`",
        ),
        (
            r#"(component (import "wasi:http/incoming-handler@0.2.0" (instance)))"#.to_owned(),
            "imports `wasi:http/incoming-handler@0.2.0`",
        ),
        (checker(""), "does not fit the interface"),
        (
            checker(r#"(import "lapwing:plugin/net-types@1.0.0" (instance (export "hm" (func))))"#),
            "does not fit the interface",
        ),
    ] {
        let report = text(&host, &component).await;
        let reason = refused(&report);
        assert!(reason.contains(part), "{component}: {reason}");
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_not_compiled() {
    let host = PluginHost::new(small()).unwrap();
    let broken = "(core module (func (result i32)))";
    let refusal = async |component: String| refused(&text(&host, &component).await).to_owned();
    let reason = refusal(checker(broken)).await;
    assert!(reason.contains("not a valid component"), "{reason}");
    let reason = refusal(format!(
        r#"(component (import "evil:host/shell@1.0.0" (instance)) {broken})"#
    ))
    .await;
    assert!(reason.contains("imports `evil:host/shell@1.0.0`"), "{reason}");
    let reason = refusal(format!("(component {broken})")).await;
    assert!(reason.contains("does not export"), "{reason}");
}

#[tokio::test]
async fn components_that_want_too_much_are_refused() {
    let host = PluginHost::new(small()).unwrap();
    let inside = |module: &str, instances: usize| {
        checker(&format!(
            "(core module $m {module}) {}",
            "(core instance (instantiate $m))".repeat(instances)
        ))
    };
    for (component, part) in [
        (
            inside("(memory 1025)", 1),
            "65 MiB of memory at the start; the limit is 64 MiB",
        ),
        (inside("(memory 65536)", 1), ""),
        (inside("(table 100000000 funcref)", 1), ""),
        (inside("(memory 1)", 99), ""),
        (inside("", 1000), ""),
        (inside("(memory i64 1)", 1), "memory64"),
        (inside("(memory 1) (memory 1)", 1), "multi"),
        (inside("(memory 1 2 shared)", 1), "threads"),
    ] {
        let report = text(&host, &component).await;
        let reason = refused(&report);
        assert!(reason.contains(part), "{part}: {reason}");
    }
}

#[tokio::test]
async fn limits_at_the_start_follow_the_settings() {
    let limits = RunLimits {
        memory_mib: 1,
        table_elements: 100,
        ..RunLimits::default()
    };
    let host = PluginHost::new(PluginSettings { limits, ..small() }).unwrap();
    let inside = |module: &str| {
        checker(&format!(
            "(core module $m {module}) (core instance (instantiate $m))"
        ))
    };
    for (component, part) in [
        (
            inside("(memory 17)"),
            "the limit is 1 MiB (`plugins.limits.memory_mib`)",
        ),
        (
            inside("(table 101 funcref)"),
            "the limit is 100 (`plugins.limits.table_elements`)",
        ),
        (
            inside("(memory 16) (table 100 funcref)"),
            "does not fit the interface",
        ),
    ] {
        let report = text(&host, &component).await;
        assert!(refused(&report).contains(part), "{part}: {}", refused(&report));
    }
}

#[tokio::test]
async fn files_that_are_no_components_are_refused_by_name() {
    let host = PluginHost::new(small()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture("echo")).unwrap();
    let files: [(&str, &[u8], &str); 7] = [
        ("empty.wasm", b"", "the file is empty"),
        ("random.wasm", b"\x93\x11random bytes", "not WebAssembly"),
        ("text.wasm", b"(component)", "WebAssembly text"),
        ("half.wasm", &whole[..whole.len() / 2], "truncated"),
        ("nearly-whole.wasm", &whole[..whole.len() - 10], "truncated"),
        ("preamble.wasm", &whole[..6], "truncated"),
        ("whole.wasm", &whole, ""),
    ];
    for (name, bytes, _) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    std::fs::create_dir(folder.path().join("folder.wasm")).unwrap();
    let reports = host.load_dir(folder.path()).await.unwrap();
    assert_eq!(reports.len(), 8);
    for report in &reports {
        let name = report.path.file_name().unwrap().to_str().unwrap();
        let expected = files
            .iter()
            .find(|(file, ..)| *file == name)
            .map_or("not a regular file", |file| file.2);
        match report.failure() {
            None => assert_eq!(name, "whole.wasm"),
            Some(reason) => assert!(
                !expected.is_empty() && reason.contains(expected),
                "{name}: {reason}"
            ),
        }
    }
    assert!(host.load_dir(&folder.path().join("none")).await.is_err());
}

#[tokio::test]
async fn precompiled_code_is_refused() {
    let host = PluginHost::new(small()).unwrap();
    let engine = wasmtime::Engine::default();
    let code = engine
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), code).unwrap();
    assert!(refused(&host.load_file(file.path()).await).contains("precompiled"));
}

#[tokio::test]
async fn a_kind_is_provided_once() {
    let host = PluginHost::new(small()).unwrap();
    let mut registry = Registry::default();
    native::register(&mut registry).unwrap();
    let kinds = registry.kinds().count();
    let mut clash = host.load_file(fixture("clash")).await;
    clash.register(&mut registry);
    assert_eq!(
        refused(&clash),
        "kind `http` of plugin http 0.1.0 is already provided by native"
    );
    assert_eq!(registry.kinds().count(), kinds);

    let mut first = host.load_file(fixture("two_kinds")).await;
    first.register(&mut registry);
    assert_eq!(first.failure(), None);
    let mut copy = host.load_file(fixture("two_kinds")).await;
    copy.register(&mut registry);
    let reason = refused(&copy);
    assert!(reason.starts_with("kind `fixture-one` of plugin "), "{reason}");
    assert_eq!(registry.kinds().count(), kinds + 2);
}

#[tokio::test]
async fn a_report_tells_what_a_plugin_is() {
    let host = PluginHost::new(small()).unwrap();
    let report = host.load_file(dist().join("smtp.wasm")).await;
    assert!(report.is_active(), "{:?}", report.failure());
    assert_eq!(report.kinds, ["smtp"]);
    let about = report.about.as_ref().unwrap();
    assert_eq!(about.interface, "1.0.0");
    assert!(
        about
            .imports
            .iter()
            .any(|import| import == "lapwing:plugin/tcp@1.0.0"),
        "{:?}",
        about.imports
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["state"], "active");
    assert_eq!(json["digest"].as_str().unwrap().len(), 64);
}
