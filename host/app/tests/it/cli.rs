//! The commands that end by themselves.

use crate::support::{plugins, process::say, targets};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_ends_with_the_exit_code_of_what_it_saw() {
    let (http, closed) = (targets::http().await, targets::closed().await);
    let up = say(&[
        "check",
        "http",
        "--config",
        &json!({"url": format!("http://{http}/ok")}).to_string(),
    ]);
    assert_eq!(up.code, 0, "{}{}", up.out, up.err);
    assert!(
        up.out.contains("200 - 200 OK") && up.out.contains("latency"),
        "{}",
        up.out
    );

    let down = say(&[
        "check",
        "http",
        "--config",
        &json!({"url": format!("http://{http}/broken")}).to_string(),
    ]);
    assert_eq!(down.code, 1);
    assert!(
        down.out.contains("HTTP request failed with status: 503") && down.out.contains("http_status"),
        "{}",
        down.out
    );

    let refused = say(&[
        "check",
        "tcp",
        "--json",
        "--config",
        &json!({"host": "127.0.0.1", "port": closed.port()}).to_string(),
    ]);
    assert_eq!(refused.code, 1);
    let result: Value = refused.json();
    assert_eq!(
        (&result["status"], &result["reason"]),
        (&json!("down"), &json!("connection_refused"))
    );

    let denied = say(&[
        "check",
        "tcp",
        "--config",
        r#"{"host": "169.254.169.254", "port": 80}"#,
    ]);
    assert_eq!(denied.code, 2, "{}", denied.out);
    assert!(denied.out.contains("denied_by_policy"), "{}", denied.out);
}

#[test]
fn a_wrong_command_line_exits_64_and_says_what_was_expected() {
    for (args, expected) in [
        (
            &["check", "htpt"][..],
            "unknown monitor type `htpt`: did you mean `http`? ",
        ),
        (
            &["check", "tcp", "--config", r#"{"host": "h", "prot": 1}"#],
            "prot",
        ),
        (&["check", "tcp", "--config", "host=h"], "expected a JSON object"),
        (
            &["check", "tcp", "--config", "@/nonexistent"],
            "cannot read `/nonexistent`",
        ),
        (&["check", "tcp", "--timeout", "soon"], "is not a duration"),
        (&["check", "tcp", "--timeout", "0s"], "at most `1h`"),
        (
            &["check", "tcp", "--timeout", "2562047788015215h"],
            "at most `1h`",
        ),
        (
            &["plugin", "list", "--plugins", "/nonexistent"],
            "plugin folder `/nonexistent` does not exist; make it (`mkdir -p /nonexistent`), or name another",
        ),
        (&["check", "smtp", "--plugins", "/nonexistent"], "does not exist"),
        (&["plugin", "lock", "--plugins", "/nonexistent"], "does not exist"),
        (&["chekc"], "unrecognized subcommand"),
        (&["run"], "there is nothing to watch"),
        (&[], "Usage"),
    ] {
        let said = say(args);
        assert_eq!(said.code, 64, "{args:?}: {}{}", said.out, said.err);
        assert!(
            format!("{}{}", said.out, said.err).contains(expected),
            "{args:?}: {}{}",
            said.out,
            said.err
        );
    }
}

#[test]
fn a_config_that_cannot_be_meant_exits_64_whatever_the_kind() {
    let folder = plugins();
    for (kind, config) in [
        ("tcp", r#"{"host": "a b", "port": 0}"#),
        ("tcp", r#"{"host": "127.0.0.1", "port": 1, "ip_family": "6"}"#),
        ("http", r#"{"url": "ftp://x/"}"#),
        ("http-json-query", r#"{"url": "http://x/", "json_query": "$["}"#),
        ("smtp", "{}"),
        ("ntp", r#"{"host": "256.1.1.1"}"#),
        ("ldap", r#"{"host": "127.0.0.1", "bind_dn": "cn=x"}"#),
        (
            "radius",
            r#"{"host": "127.0.0.1", "secret": "s", "username": "x"}"#,
        ),
    ] {
        let plugins = folder.to_str().unwrap();
        let said = say(&["check", kind, "--plugins", plugins, "--config", config]);
        assert_eq!(said.code, 64, "{kind} {config}: {}{}", said.out, said.err);
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = say(&["--help"]);
    assert_eq!(help.code, 0);
    for expected in ["Examples:", "Exit codes:", "worker", "plugin"] {
        assert!(help.out.contains(expected), "{}", help.out);
    }
}

#[test]
fn output_to_a_pipe_has_no_colours() {
    let said = say(&["check", "tcp", "--config", r#"{"host": "127.0.0.1", "port": 1}"#]);
    assert!(
        !said.out.contains('\x1b') && !said.err.contains('\x1b'),
        "{:?}{:?}",
        said.out,
        said.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_kind_is_checked_like_any_other() {
    let smtp = targets::smtp().await;
    let (folder, config) = (
        plugins(),
        json!({"host": "127.0.0.1", "port": smtp.port()}).to_string(),
    );
    let said = say(&[
        "check",
        "smtp",
        "--json",
        "--plugins",
        folder.to_str().unwrap(),
        "--config",
        &config,
    ]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let result: Value = said.json();
    assert_eq!(result["status"], "up");
    assert!(
        result["phases"]
            .as_array()
            .is_some_and(|phases| phases.iter().any(|phase| phase["name"] == "connect")),
        "{result}"
    );
}

#[test]
fn kinds_lists_native_and_plugin_kinds() {
    let folder = plugins();
    let said = say(&["kinds", "--json", "--plugins", folder.to_str().unwrap()]);
    assert_eq!(said.code, 0, "{}", said.err);
    let kinds: Vec<Value> = said.json();
    let origin = |kind: &str| {
        kinds
            .iter()
            .find(|info| info["kind"] == kind)
            .map(|info| info["origin"].clone())
    };
    for kind in ["http", "http-keyword", "http-json-query", "tcp"] {
        assert_eq!(origin(kind), Some(json!("native")), "{kind}");
    }
    assert_eq!(origin("smtp"), Some(json!("plugin")));
    assert!(
        kinds.iter().all(|info| info["schema"]["type"] == "object"),
        "every kind has a schema"
    );
}

#[test]
fn a_broken_plugin_is_listed_with_its_reason_and_stops_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(plugins().join("smtp.wasm"), folder.path().join("smtp.wasm")).unwrap();
    std::fs::write(folder.path().join("text.wasm"), "(component)").unwrap();
    std::fs::write(folder.path().join("empty.wasm"), "").unwrap();
    std::fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let said = say(&["plugin", "list", "--plugins", folder.path().to_str().unwrap()]);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    for line in ["smtp.wasm", "text.wasm", "empty.wasm", "core.wasm"] {
        let row = said
            .out
            .lines()
            .find(|row| row.starts_with(line))
            .unwrap_or_else(|| panic!("{line} in\n{}", said.out));
        assert_eq!(row.contains("failed: "), line != "smtp.wasm", "{row}");
    }
    let kinds = say(&["kinds", "--plugins", folder.path().to_str().unwrap()]);
    assert!(
        kinds.code == 0 && kinds.out.contains("smtp"),
        "{}{}",
        kinds.out,
        kinds.err
    );
}

#[test]
fn inspect_shows_what_a_plugin_is() {
    let file = plugins().join("smtp.wasm");
    let said = say(&["plugin", "inspect", file.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let report: Value = said.json();
    assert_eq!(report["kinds"], json!(["smtp"]));
    assert_eq!(report["digest"].as_str().map(str::len), Some(64), "{report}");
    let kind = &report["executors"][0];
    assert_eq!(
        kind["schema"]["properties"]["port"]["type"], "integer",
        "{report}"
    );
    assert!(kind["example"]["host"].is_string(), "{report}");
}

#[test]
fn inspect_is_a_page_for_people() {
    let file = plugins().join("smtp.wasm");
    let file = file.to_str().unwrap();
    let said = say(&["plugin", "inspect", file]);
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        "smtp 0.1.0: ",
        "state      active",
        "KiB",
        "sha256",
        "lapwing:plugin@1.0.0; ",
        "compiled   in ",
        "asks for\n  KIND  RIGHT",
        "net.tcp",
        "kind `smtp`: ",
        "FIELD",
        "required",
        &format!("lapwing plugin test {file} --kind smtp --config '{{\"host\":"),
    ] {
        assert!(said.out.contains(part), "{part} in\n{}", said.out);
    }
    let host = said.out.lines().find(|line| line.starts_with("  host ")).unwrap();
    assert!(host.contains("string") && host.contains("required"), "{host}");

    let waits = say(&[
        "plugin",
        "inspect",
        plugins().join("fixtures/greedy.wasm").to_str().unwrap(),
    ]);
    assert!(
        waits.out.contains("pending-approval: ")
            && waits
                .out
                .contains("\n[plugins.grants.fixtures]\nhosts = [\"relay.test:25\"]"),
        "{}",
        waits.out
    );
    let none = say(&[
        "plugin",
        "inspect",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    assert!(
        none.code == 2 && none.out.contains("failed: not WebAssembly"),
        "{}{}",
        none.out,
        none.err
    );
}

#[test]
fn list_prints_and_does_not_log_as_well() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(plugins().join("smtp.wasm"), folder.path().join("smtp.wasm")).unwrap();
    std::fs::write(folder.path().join("text.wasm"), "(component)").unwrap();
    let list = ["plugin", "list", "--plugins", folder.path().to_str().unwrap()];
    let said = say(&list);
    assert!(
        said.out.contains("text.wasm") && !said.err.contains("refused"),
        "{}",
        said.err
    );
    let said = say(&[&list[..], &["--log-level", "info"]].concat());
    assert!(
        said.err.contains("refused") && said.err.contains("loaded"),
        "{}",
        said.err
    );
}

#[test]
fn the_settings_file_has_one_name_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lapwing.toml");
    std::fs::write(&file, "[network]\ndeny = [\"127.0.0.0/8\"]\n").unwrap();
    let file = file.to_str().unwrap();
    let target = r#"{"host": "127.0.0.1", "port": 9}"#;
    let check = say(&["check", "tcp", "--settings", file, "--config", target]);
    assert!(
        check.out.contains("denied_by_policy"),
        "{}{}",
        check.out,
        check.err
    );
    let (smtp, run) = (plugins().join("smtp.wasm"), ["plugin", "test"]);
    let test = [
        &run[..],
        &[smtp.to_str().unwrap(), "--settings", file, "--config", target],
    ]
    .concat();
    assert!(say(&test).out.contains("denied_by_policy"));
    for name in ["--settings", "--config"] {
        assert_eq!(say(&["kinds", name, file]).code, 0, "{name}");
    }
    // Mixed up, each says where the other goes.
    let mixed = say(&["check", "tcp", "--config", file]);
    assert!(
        mixed.code == 64 && mixed.err.contains("--settings"),
        "{}",
        mixed.err
    );
    let mixed = say(&["kinds", "--config", target]);
    assert!(
        mixed.code == 64 && mixed.err.contains("lapwing check KIND"),
        "{}",
        mixed.err
    );
}

#[test]
fn a_key_that_stands_twice_in_a_configuration_is_refused() {
    for config in [
        r#"{"host": "127.0.0.1", "port": 1, "port": 2}"#,
        r#"{"host": "127.0.0.1", "port": 1, "steps": [{"send": "a", "send": "b"}]}"#,
    ] {
        let said = say(&["check", "tcp", "--config", config]);
        assert!(
            said.code == 64 && said.err.contains("is there twice"),
            "{}{}",
            said.out,
            said.err
        );
    }
}

#[test]
fn help_with_a_kind_tells_what_the_kind_takes() {
    let said = say(&["check", "http", "--help"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for part in [
        "--config JSON|@FILE",
        "FIELD",
        "basic_auth_pass",
        "secret",
        "lapwing check http --config '{",
    ] {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
    assert!(said.out.starts_with("kind `http`: "), "{}", said.out);
    let plain = say(&["check", "--help"]);
    assert_eq!(
        (plain.code, plain.out.contains("FIELD")),
        (0, false),
        "{}",
        plain.out
    );
    let unknown = say(&["check", "gopher", "--help"]);
    assert_eq!(unknown.code, 64);
    assert!(
        unknown.err.contains("unknown monitor type `gopher`"),
        "{}",
        unknown.err
    );
    assert!(say(&["kinds", "tcp"]).out.contains("Port, 1 to 65535"));
}
