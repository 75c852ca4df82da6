//! `lapwing plugin test`, and what all that take one file have in common.

use crate::support::{
    plugin,
    process::{Said, lapwing, say},
    targets,
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_test_run_shows_the_result_and_each_call_to_the_host() {
    let server = targets::smtp().await;
    let config = json!({"host": "127.0.0.1", "port": server.port()}).to_string();
    let file = plugin("smtp.wasm");
    let told = say(&["plugin", "test", &file, "--config", &config, "--trace"]);
    assert_eq!(told.code, 0, "{}{}", told.out, told.err);
    for part in ["up", "tcp.connect", &server.to_string(), "used", "1 connections"] {
        assert!(told.out.contains(part), "{part} in:\n{}", told.out);
    }

    let json = say(&["plugin", "test", &file, "--config", &config, "--json"]);
    let trial: Value = json.json();
    assert_eq!(trial["result"]["status"], "up", "{trial}");
    let calls = trial["calls"].as_array().unwrap();
    let connect = calls.iter().find(|call| call["call"] == "tcp.connect").unwrap();
    assert_eq!(
        (&connect["failed"], connect["elapsed_us"].as_u64() > Some(0)),
        (&json!(false), true),
        "{connect}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_run_ends_with_the_exit_code_of_what_it_saw() {
    let (file, closed) = (plugin("smtp.wasm"), targets::closed().await);
    let config = json!({"host": "127.0.0.1", "port": closed.port()}).to_string();
    let down = say(&["plugin", "test", &file, "--config", &config]);
    assert_eq!(down.code, 1, "{}{}", down.out, down.err);
    assert!(
        down.out.contains("connection_refused") && down.out.contains("calls to the host"),
        "{}",
        down.out
    );

    let trap = say(&["plugin", "test", &plugin("fixtures/trap.wasm")]);
    assert_eq!(trap.code, 2, "{}{}", trap.out, trap.err);
    assert!(trap.out.contains("plugin_trap"), "{}", trap.out);

    let unfit = say(&["plugin", "test", &file]);
    assert_eq!(unfit.code, 64, "{}{}", unfit.out, unfit.err);
    assert!(
        unfit.err.contains("`host`") && unfit.err.contains("for example --config '{"),
        "{}",
        unfit.err
    );

    let kind = say(&["plugin", "test", &file, "--kind", "imap"]);
    assert_eq!(kind.code, 64);
    assert!(
        kind.err.contains("no kind `imap`; name one of `smtp`"),
        "{}",
        kind.err
    );

    let two = say(&["plugin", "test", &plugin("fixtures/two_kinds.wasm")]);
    assert_eq!(two.code, 64);
    assert!(
        two.err.contains("several kinds") && two.err.contains("--kind"),
        "{}",
        two.err
    );
}

/// `wasi:io`'s `to-debug-string` gives a guest the host's own error.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_does_not_see_the_hosts_backtrace() {
    let server = targets::answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok").await;
    let config = json!({"authority": server.to_string()}).to_string();
    let file = plugin("fixtures/wasi_http.wasm");
    let told = lapwing()
        .env("RUST_BACKTRACE", "1")
        .args(["plugin", "test", &file, "--config", &config, "--json"])
        .output()
        .expect("the binary runs");
    let told = String::from_utf8(told.stdout).expect("UTF-8");
    assert!(told.contains("200 2 bytes, then"), "{told}");
    assert!(!told.contains("wasmtime::"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_a_wrong_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    for verb in ["test", "inspect", "conformance", "bench"] {
        let none = say(&["plugin", verb, "/nonexistent.wasm"]);
        assert_eq!((none.code, none.out.as_str()), (64, ""), "{verb}: {}", none.err);
        assert!(
            none.err.contains("no such file: `/nonexistent.wasm`"),
            "{verb}: {}",
            none.err
        );
        let given = say(&["plugin", verb, folder]);
        assert_eq!(given.code, 64, "{verb}");
        assert!(given.err.contains("is a folder"), "{verb}: {}", given.err);
    }
}

#[test]
fn what_a_plugin_finds_wrong_with_a_configuration_is_told_before_a_run() {
    let file = plugin("fixtures/validating.wasm");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&file, folder.path().join("validating.wasm")).unwrap();
    let (folder, kind) = (folder.path().to_str().unwrap(), "fixture-validating");
    let (unfit, wrong) = (r#"{"from": 10}"#, r#"{"from": 1, "misdeed": "panic"}"#);
    for command in [
        &["plugin", "test", &file][..],
        &["check", kind, "--plugins", folder][..],
    ] {
        let with = |config| say(&[command, &["--config", config]].concat());
        let told = with(unfit);
        assert_eq!(told.code, 64, "{}{}", told.out, told.err);
        let said = format!("{}{}", told.out, told.err);
        assert!(said.contains("`to`: is before `from` (10)"), "{said}");
        let told = with(wrong);
        assert_eq!(told.code, 2, "{}{}", told.out, told.err);
        assert!(
            told.out.contains("`config-check` trapped"),
            "{}{}",
            told.out,
            told.err
        );
        assert_eq!(with(r#"{"from": 1}"#).code, 0);
    }
}

#[test]
fn a_run_by_kind_is_a_check() {
    let told = say(&["plugin", "run", "htpt"]);
    assert_eq!(told.code, 64);
    assert!(
        told.err.is_empty()
            && told
                .out
                .contains("unknown monitor type `htpt`: did you mean `http`?"),
        "{}{}",
        told.out,
        told.err
    );
}

#[test]
fn what_is_wrong_on_the_command_line_ends_with_64_and_says_what_to_change() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (smtp, text, bad) = (plugin("smtp.wasm"), path("text.wasm"), path("bad.json"));
    std::fs::write(&text, "(component)").unwrap();
    std::fs::write(&bad, "{").unwrap();
    std::fs::write(path("good.json"), "{}").unwrap();
    let (here, none, at_bad, good) = (path(""), path("none"), format!("@{bad}"), path("good.json"));
    for (args, part) in [
        (&["plugin", "build", &here][..], "plugin.toml"),
        (&["plugin", "build", &none], "cannot find the folder"),
        (&["plugin", "new", "door", "--path", &here], "exists already"),
        (&["plugin", "keygen", &path("none/x.key")], "there is no folder"),
        (&["plugin", "test", &text], "WebAssembly"),
        (&["plugin", "test", &smtp, "--allow", "zork"], "as `zork:443`"),
        (&["plugin", "test", &smtp, "--config", &at_bad], &bad),
        (&["check", "tcp", "--config", &at_bad], &bad),
        (
            &["check", "tcp", "--config", &good],
            &format!("did you mean `@{good}`?"),
        ),
    ] {
        let said = say(args);
        assert_eq!(said.code, 64, "{args:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(part), "{args:?}: {part} in {}", said.err);
    }
    for place in ["db:5432", "localhost", "10.0.0.0/8", "*.corp.example", "::1"] {
        let said = say(&["plugin", "test", &smtp, "--allow", place]);
        assert!(said.err.contains("`host`"), "{place}: {}", said.err);
    }
}

#[test]
fn an_unfit_config_is_told_as_json_where_json_is_asked_for() {
    let said = say(&["plugin", "test", &plugin("smtp.wasm"), "--json"]);
    let trial: Value = said.json();
    assert_eq!(
        (said.code, &trial["result"]["reason"]),
        (64, &json!("invalid_config")),
        "{trial}"
    );
}

#[test]
fn a_test_of_a_plugin_that_would_wait_for_approval_says_so() {
    let hint = |file: &str| {
        say(&["plugin", "test", &plugin(file)])
            .err
            .contains("would wait for approval")
    };
    assert!(hint("fixtures/greedy.wasm") && !hint("fixtures/trap.wasm"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_mark_is_told_with_the_field_to_mark() {
    let (file, server) = (plugin("fixtures/careless.wasm"), targets::smtp().await);
    let config = json!({"host": "127.0.0.1", "port": server.port()}).to_string();
    let advice = "no field of the schema is marked as target: mark `host` with `format: hostname` or `x-lapwing-target: host`";
    let kind = "fixture-careless";
    let said = say(&["plugin", "test", &file, "--kind", kind, "--config", &config]);
    let told = format!("`{server}` is not the monitor's target: {advice}");
    assert!(
        said.code == 2 && said.out.contains(&told),
        "{}{}",
        said.out,
        said.err
    );
    assert!(!said.out.contains("grant it"), "{}", said.out);
    assert!(
        said.err.contains(&format!("kind `{kind}`: {advice}")),
        "{}",
        said.err
    );

    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&file, folder.path().join("careless.wasm")).unwrap();
    let folder = folder.path().to_str().unwrap();
    // The misspelt capability keeps the whole file from serving: its other kind asks for what cannot be granted.
    let said = say(&["plugin", "list", "--plugins", folder]);
    let said = format!("{}{}", said.out, said.err);
    assert!(
        said.contains(advice) && said.contains("did you mean `net.tcp`?"),
        "{said}"
    );
    assert!(!said.contains("would serve with this"), "nothing helps: {said}");
    for verb in ["inspect", "conformance"] {
        let said = say(&["plugin", verb, &file]);
        for part in [advice, "no capability `net.tpc`; did you mean `net.tcp`?"] {
            assert!(
                said.out.contains(part),
                "{verb}: {part} in {}{}",
                said.out,
                said.err
            );
        }
    }
}

#[test]
fn a_grant_to_a_plugin_of_nearly_the_same_name_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("lapwing.toml");
    std::fs::write(&settings, "[plugins.grants.fixture]\nstate = true\n").unwrap();
    let file = plugin("fixtures/keeper.wasm");
    let said = say(&[
        "plugin",
        "test",
        &file,
        "--config",
        r#"{"act": "answer"}"#,
        "--settings",
        settings.to_str().unwrap(),
    ]);
    let told = "`plugins.grants` has `fixture`; this plugin is `fixtures`";
    assert!(said.err.contains(told), "{}{}", said.out, said.err);
}

#[test]
fn a_test_of_a_plugin_with_a_native_kind_says_that_a_folder_refuses_it() {
    let file = plugin("fixtures/clash.wasm");
    let said = say(&["plugin", "test", &file]);
    assert!(
        said.code == 0 && said.err.contains("a plugin folder would refuse it") && said.err.contains("`http`"),
        "{}{}",
        said.out,
        said.err
    );
    let said = say(&["plugin", "inspect", &file]);
    assert!(
        said.code == 2 && said.out.contains("failed: kind `http`"),
        "{}{}",
        said.out,
        said.err
    );
}

/// What `plugin test` says of the careless plugin, which misbehaves by the port it is given.
fn careless(port: u16) -> Said {
    let config = format!(r#"{{"host": "127.0.0.1", "port": {port}}}"#);
    let file = plugin("fixtures/careless.wasm");
    say(&[
        "plugin",
        "test",
        &file,
        "--kind",
        "fixture-misspelt",
        "--config",
        &config,
    ])
}

#[test]
fn a_test_advises_on_a_verdict_that_tells_nothing() {
    let said = careless(9);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    for part in [
        "this down has no message",
        "the reason `it_s_broken` is none of Lapwing's",
        "`fixture_it_s_broken`",
    ] {
        assert!(said.err.contains(part), "{part} in {}", said.err);
    }
}

#[test]
fn a_panic_is_told_once_and_without_advice_that_cannot_be_followed() {
    let said = careless(7);
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    let log = said.out.split_once("\nlog\n").unwrap().1;
    assert_eq!(
        log.matches("nobody listens at the port of echo").count(),
        1,
        "{}",
        said.out
    );
    assert!(!said.out.contains("RUST_BACKTRACE"), "{}", said.out);
}

#[test]
fn an_unknown_kind_is_told_with_the_nearest_and_where_plugins_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let said = say(&["check", "htpt", "--plugins", folder]);
    assert_eq!(said.code, 64);
    for part in ["did you mean `http`?", folder, "--plugins"] {
        assert!(said.out.contains(part), "{part} in {}", said.out);
    }
}

#[test]
fn help_shows_what_a_command_takes_and_no_more() {
    for verb in ["list", "lock", "enable"] {
        let said = say(&["plugin", verb, "--help"]);
        assert!(
            said.out.contains("--plugins") && !said.out.contains("--listen"),
            "{}",
            said.out
        );
    }
    let said = say(&["plugin", "run", "--help"]);
    assert!(said.out.contains("lapwing plugin run smtp"), "{}", said.out);
}
