//! `lapwing plugin conformance`: does a plugin tell the truth of servers that misbehave?

use crate::support::{plugin, process::say};
use serde_json::{Value, json};

#[test]
fn a_sound_plugin_conforms() {
    let told = say(&[
        "plugin",
        "conformance",
        &plugin("smtp.wasm"),
        "--json",
        "--timeout",
        "700ms",
    ]);
    let report: Value = told.json();
    assert_eq!((told.code, &report["passed"]), (0, &json!(true)), "{report:#}");
    let trials = report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 20, "{report:#}");
    let seen = |name: &str| {
        let trial = trials
            .iter()
            .find(|trial| trial["name"] == name)
            .unwrap_or_else(|| panic!("{name}"));
        trial["seen"].as_str().unwrap().to_owned()
    };
    // Each server was really met.
    for (name, met) in [
        ("without any network", "denied_by_policy"),
        ("the server refuses connections", "connection_refused"),
        ("the server says nothing", "response_timeout"),
        ("the server closes at once", "connection_closed"),
        ("the server resets", "connection_reset"),
        ("the server talks nonsense", "protocol_error"),
        ("the server sends a line without end", "protocol_error"),
        ("the server sends a byte now and then", "response_timeout"),
    ] {
        assert!(seen(name).contains(met), "{name}: {}", seen(name));
    }
}

#[test]
fn what_does_not_conform_is_told_with_what_to_change() {
    for (file, name, change) in [
        ("trap.wasm", "without any network", "handle the error"),
        ("panicking.wasm", "without any network", "handle the error"),
        ("spin.wasm", "without any network", "bound the loop"),
        ("internal_error.wasm", "without any network", "ok(down)"),
        (
            "nondeterministic_describe.wasm",
            "loads and describes itself",
            "docs/plugins.md",
        ),
        (
            "bad_example.wasm",
            "loads and describes itself",
            "docs/plugins.md",
        ),
    ] {
        let told = say(&["plugin", "conformance", &plugin(&format!("fixtures/{file}"))]);
        assert_eq!(told.code, 1, "{file}: {}{}", told.out, told.err);
        let mut lines = told.out.lines();
        let failed = lines.find(|line| line.starts_with("FAIL")).unwrap();
        let advice = lines.next().unwrap();
        assert!(
            failed.contains(name) && advice.contains("change:") && advice.contains(change),
            "{file}: {}",
            told.out
        );
        assert!(!told.out.contains('\x1b'), "no colours off a terminal");
    }
}

#[test]
fn what_is_up_whatever_it_meets_does_not_conform() {
    let file = plugin("fixtures/keeper.wasm");
    let tried = |config: &str| {
        say(&[
            "plugin",
            "conformance",
            &file,
            "--config",
            config,
            "--timeout",
            "500ms",
        ])
    };
    let said = tried(r#"{"act": "answer", "host": "x"}"#);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("up with all 14 servers"), "{}", said.out);
    let said = tried(r#"{"act": "sing"}"#);
    assert_eq!(said.code, 64, "{}{}", said.out, said.err);
    assert!(said.err.contains("`act`"), "{}", said.err);
}
