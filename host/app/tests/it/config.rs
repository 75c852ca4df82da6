//! A configuration that is wrong: every fault at once, exit 64, nothing started.

use crate::support::process::say;
use std::fs;

fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

const BROKEN: &str = r#"
[worker]
concurrency = 0
grace = "soon"
colour = "blue"
[admin]
listen = "0.0.0.0:1"
[[monitors]]
name = "A"
kind = "http"
interval = 10
[[monitors]]
kind = "tcp"
nmae = "B"
url = "tcp://b"
"#;

#[test]
fn every_fault_is_printed_at_once_with_file_field_and_expectation() {
    let (_folder, path) = file("monitors.toml", BROKEN);
    let said = say(&["run", "--config", &path]);
    assert_eq!(said.code, 64, "{}", said.err);
    for expected in [
        &format!("{path}: "),
        "worker.concurrency: expected 1 to 1000000",
        "worker.grace: \"soon\" is not a duration",
        "worker.colour: unknown field, expected one of `concurrency`, `grace`",
        "monitors[0].interval: 10 is not a duration such as `500ms`, `10s` or `1m 30s`",
        "monitors[1].name: is missing",
        "monitors[1].nmae: unknown field, expected one of `id`, `name`, `kind`",
        "`timeout`, `config`; what its kind is to know goes into its `config`\n",
    ] {
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
    assert_eq!(said.out, "");
}

#[test]
fn faults_that_no_schema_sees_are_also_found_at_once() {
    let text = r#"
[admin]
listen = "0.0.0.0:8085"
[[monitors]]
name = "Same"
kind = "tcp"
interval = "10ms"
[[monitors]]
name = "same"
kind = "tcp"
timeout = "5m"
"#;
    let (_folder, path) = file("monitors.toml", text);
    let said = say(&["run", "--config", &path]);
    assert_eq!(said.code, 64);
    for expected in [
        "admin.listen: `0.0.0.0:8085` is not a loopback address",
        "monitors[0].interval: ",
        "monitors[1].name: two monitors have the id `same`",
        "monitors[1].timeout: is `5m`: expected more than zero, and no more than `1m`, the interval",
    ] {
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
}

#[test]
fn faults_of_every_kind_are_found_in_one_round() {
    let text = r#"
nonsense = 1
[worker]
liveness = "0s"
[worker.queues]
[admin]
token = 123456
[network]
allow = ["10.0.0.0/99"]
[log]
level = "loud"
format = "xml"
[[monitors]]
name = "A"
kind = "http"
interval = "100ms"
[[monitors]]
name = "a"
kind = "tcp"
config = { hst = "h", port = 1 }
[[monitors]]
kind = "tcp"
"#;
    let (_folder, path) = file("monitors.toml", text);
    let said = say(&["run", "--listen", "0.0.0.0:8085", "--config", &path]);
    assert_eq!(said.code, 64);
    for expected in [
        "nonsense: unknown field",
        "worker.liveness: ",
        "worker.queues: ",
        "admin.token: value is not a string",
        "network.allow[0]: `10.0.0.0/99` is no network rule",
        "log.level: \"loud\" is not one of",
        "log.format: \"xml\" is not one of \"text\", \"json\"",
        "monitors[0].interval: ",
        "monitors[0].config.url: is missing",
        "monitors[1].name: two monitors have the id `a`",
        "monitors[1].config.hst: unknown field",
        "monitors[2].name: is missing",
    ] {
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
    for unexpected in ["123456", "there is no token"] {
        assert!(!said.err.contains(unexpected), "`{unexpected}` in:\n{}", said.err);
    }
}

#[test]
fn what_only_the_kind_itself_knows_to_be_unfit_is_told_before_anything_runs() {
    let text = r#"
[[monitors]]
name = "shop"
kind = "http"
config = { url = "ftp://shop.test/", tls_ca = "no pem" }
[[monitors]]
name = "page"
kind = "http-keyword"
config = { url = "https://shop.test/", tls_ca = "no pem" }
[[monitors]]
name = "database"
kind = "postgres"
config = { database_connection_string = "postgres://u:p@db.test/app?sslmod=require" }
"#;
    let (_folder, path) = file("monitors.toml", text);
    let said = say(&["run", "--once", "--config", &path]);
    assert_eq!(said.code, 64, "{}", said.err);
    for expected in [
        "monitors[0].config.url: scheme `ftp`",
        "monitors[1].config.keyword: `http-keyword` needs it",
        "monitors[1].config.tls_ca: the PEM text holds no certificate",
        "monitors[2].config.database_connection_string: unknown parameter `sslmod`",
    ] {
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
}

#[test]
fn values_that_pass_and_then_break_are_refused() {
    for (text, expected) in [
        (
            "[worker]\nconcurrency = 9000000000000000000\n",
            "worker.concurrency: ",
        ),
        ("[worker]\nqueues = {}\n", "worker.queues: "),
        ("[worker]\nliveness = \"0s\"\n", "worker.liveness: "),
        ("[admin]\ntoken = \"\"\n", "admin.token: is empty"),
        ("[redis]\nurl = \"redis://h/abc\"\n", "redis.url: "),
        ("[redis]\nurl = \"http://h\"\n", "redis.url: "),
        (
            "[redis]\nurl = \"rediss://h\"\ntls.ca = \"/no/such/file\"\n",
            "redis.tls.ca: ",
        ),
    ] {
        let (_folder, path) = file("lapwing.toml", text);
        let said = say(&["worker", "--config", &path]);
        assert_eq!(said.code, 64, "{text}: {}", said.err);
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
}

#[test]
fn no_fault_shows_a_secret() {
    for (name, text) in [
        ("a.toml", "[admin]\ntoken = \"hunter22"),
        ("a.yaml", "redis:\n  url: hunter22\n bad: [\n"),
        ("b.toml", "[redis]\nurl = [\"hunter22\"]\n"),
        ("c.toml", "[admin]\ntoken = [\"hunter22\"]\n"),
    ] {
        let (_folder, path) = file(name, text);
        let said = say(&["worker", "--config", &path]);
        assert_eq!(said.code, 64, "{name}");
        assert!(!said.err.contains("hunter22"), "{name}: {}", said.err);
    }
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let output = crate::support::process::lapwing()
        .args(["kinds"])
        .envs([
            ("LAPWING_CONFIG", ""),
            ("LAPWING_PLUGINS", ""),
            ("LAPWING_ADMIN_LISTEN", ""),
        ])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_number_that_is_none_is_warned_of() {
    let (_folder, path) = file("empty.yaml", "# nothing but a comment\n");
    let output = crate::support::process::lapwing()
        .args(["kinds", "--config", &path])
        .env("QUEUE_CONCURRENCY", "many")
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && err.contains("QUEUE_CONCURRENCY=`many` is not a number"),
        "{err}"
    );
}

#[test]
fn a_monitors_own_settings_are_held_against_its_kind() {
    let text =
        "monitors:\n- name: A\n  kind: tcp\n  config: {host: localhost, prot: 25}\n- name: B\n  kind: http\n";
    let (_folder, path) = file("monitors.yaml", text);
    let said = say(&["run", "--once", "--config", &path]);
    assert_eq!(said.code, 64, "{}", said.err);
    for expected in [
        "monitors[0].config.prot: unknown field",
        "monitors[0].config.port: is missing",
        "monitors[1].config.url: is missing",
    ] {
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    let (_folder, toml) = file("broken.toml", "[worker\n");
    let (_other, text) = file("monitors.txt", "");
    for (path, expected) in [
        (toml.as_str(), "is not TOML"),
        (text.as_str(), "expected `.toml`, `.yaml` or `.yml`"),
        ("/nonexistent/monitors.toml", "cannot be read"),
    ] {
        let said = say(&["run", "--config", path]);
        assert_eq!(said.code, 64);
        assert!(
            said.err.contains(path) && said.err.contains(expected),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_bad_variable_is_named() {
    let output = crate::support::process::lapwing()
        .args(["worker"])
        .envs([("REDIS_PORT", "99999"), ("LOG_LEVEL", "loud"), ("REDIS_DB", "77")])
        .output()
        .unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(
        ["REDIS_PORT", "LOG_LEVEL", "REDIS_DB"]
            .iter()
            .all(|name| err.contains(name)),
        "{err}"
    );
}

#[test]
fn settings_of_the_plugin_host_are_faults_like_any_other() {
    let monitor =
        "[[monitors]]\nname = \"A\"\nkind = \"tcp\"\n[monitors.config]\nhost = \"127.0.0.1\"\nport = 1\n";
    for (setting, expected) in [
        ("trusted_keys = [\"RWxx\"]", "plugins.trusted_keys[0]: "),
        ("require_signed = true", "plugins.require_signed: "),
    ] {
        let (_folder, path) = file("plugins.toml", &format!("[plugins]\n{setting}\n{monitor}"));
        let said = say(&["run", "--once", "--config", &path]);
        assert_eq!(said.code, 64, "{setting}: {}", said.err);
        assert!(said.err.contains(expected), "no `{expected}` in:\n{}", said.err);
    }
}

#[test]
fn a_grant_of_a_secret_that_is_not_there_is_a_fault() {
    let text = "[plugins.grants.statuspage]\nsecrets = [\"tokn\"]\nreveal = [\"token\"]\n[secrets.token]\nvalue = \"x\"\n";
    let (_folder, path) = file("lapwing.toml", text);
    let said = say(&["kinds", "--config", &path]);
    assert_eq!(said.code, 64, "{}", said.err);
    let fault = "plugins.grants.statuspage.secrets: there is no secret `tokn` in [secrets]; known: `token`";
    assert!(
        said.err.contains(fault) && said.err.contains("1 fault\n"),
        "{}",
        said.err
    );
}
