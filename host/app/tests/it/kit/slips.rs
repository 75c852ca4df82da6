//! What an author writes amiss is told as that, where no compiler tells it: in JavaScript, Python and C.

use super::{run, withheld::passes};
use crate::support::{process::say, targets};
use serde_json::{Value, json};
use std::{fs, path::Path};

const JS: &str = r"
import assert from 'node:assert/strict';
import { definePlugin, dns, down, http, tcp, udp, up } from './index.js';
import { run } from './testing.js';
const about = { title: 'K', summary: 'k', schema: {}, example: {}, check: () => up('well') };
const whole = { name: 'k', version: '1.0.0', summary: 'k', kinds: { k: about } };
const made = (kind, more) => definePlugin({ ...whole, kinds: { k: { ...about, ...kind } }, ...more });
const check = (check, script) => run(made({ check }), 'k', {}, script);

assert.throws(() => made({}, { max_reuse: 3 }), /the plugin: `max_reuse` is unknown, expected one of .*`maxReuse`/);
assert.throws(() => made({}, { summary: undefined }), /the plugin: `summary` is missing, expected text/);
assert.throws(() => made({ sensitve: ['/password'] }), /kind `k`: `sensitve` is unknown, expected one of .*`sensitive`/);
assert.throws(() => made({ summary: undefined }), /kind `k`: `summary` is missing/);
assert.throws(() => made({ check: undefined }), /kind `k`: `check` is missing, expected a function/);
assert.throws(() => made({ sensitive: '/password' }), /`sensitive` is of type string, expected a list/);
assert.throws(() => made({ capabilities: [{ name: 'net.http', scopes: [], reason: 'r' }] }), /capability of kind `k`: `scopes` is unknown/);

for (const [call, wanted] of [
  [() => http.get('http://a.test/', { header: { a: 'b' } }), /an HTTP request: `header` is unknown, expected one of `headers`/],
  [() => http.get('http://a.test/', { timeout: 100 }), /`timeout` is unknown/],
  [() => http.get('http://a.test/', { tls: { verfy: false } }), /TLS: `verfy` is unknown/],
  [() => tcp.connect('a.test', 1, { timeout: 1 }), /`timeout` is unknown/],
  [() => udp.open('a.test', 1, { timeout: 1 }), /`timeout` is unknown/],
  [() => dns.query('a.test', 'A', { timeout: 1 }), /`timeout` is unknown/],
  [() => down('only a reason'), /`down` without a message: `down\(reason, message\)`/],
  [() => up(), /`up\(message\)`/],
  [() => up('well', { latency: 1 }), /facts of `up`: `latency` is unknown/],
  [() => up(`backlog ${Promise.resolve(3)}`), /an `await` is missing/],
  [() => up('well', { attributes: { backlog: Promise.resolve(3) } }), /an `await` is missing/],
]) {
  const ended = await check(call, { http: () => ({}), tcp: () => ({}), udp: () => '', dns: () => [] });
  assert.equal(ended.error, 'internal', JSON.stringify(ended));
  assert.match(ended.message, wanted);
}

const cut = await check(() => up(String(http.get('http://a.test/', { maxBodyBytes: 5 }).body.length)), { http: () => ({ body: 'x'.repeat(10) }) });
assert.match(cut.message, /larger than/);
const part = await check(() => up(String(http.get('http://a.test/', { maxBodyBytes: 5 }).part.length)), { http: () => ({ body: 'x'.repeat(10) }) });
assert.equal(part.message, '5');

const login = async () => http.get('http://a.test/');
await assert.rejects(check(() => { login(); return up('well'); }), /a promise failed that nobody awaits: access denied/);
assert.equal((await check(async () => { await login(); return up('well'); })).error, 'denied');
await assert.rejects(check(() => up('well'), { htpp: () => ({}) }), /the script: `htpp` is unknown/);
";

const PYTHON: &str = r#"
import sys
sys.path[:0] = [".", "bindings"]
from lapwing_plugin.testing import Reply, Script, run
from lapwing_plugin import Capability, Plugin, http, up

def made(check, **more):
    plugin = Plugin("k", version="1.0.0", summary="")
    plugin.kind("k", title="", summary="", schema={}, example={}, **more)(check)
    return plugin.export()

for slip, wanted in [
    (lambda: Capability("net.http", "reads", scope="{config.url}"), "`scope` of a capability: expected a list of str, found '{config.url}'"),
    (lambda: made(None, sensitive=("/token")), "`sensitive` of kind `k`: expected a list of str"),
    (lambda: made(None, capabilities=(Capability("state", "keeps"))), "`capabilities` of kind `k`: expected a list of Capability"),
]:
    try:
        slip()
    except TypeError as told:
        assert wanted in str(told), told
    else:
        raise AssertionError(f"{wanted}: was not told")

def ended(check, body="x" * 10):
    return run(made(check), "k", {}, Script(http=lambda request: Reply(body=body)))

def looks(config, cx):
    return up(http.get("http://a.test/", max_body_bytes=5).body.decode())

def parts(config, cx):
    return up(http.get("http://a.test/", max_body_bytes=5).part.decode())

def imports(config, cx):
    import no_such_module

def decodes(config, cx):
    return up(b"x".decode("no-such"))

cut = ended(looks)
assert cut.error == "Internal" and "larger than" in cut.message, cut
assert ended(parts).message == "xxxxx"
assert ended(looks, "xx").message == "xx"
assert "at the top of plugin.py" in ended(imports).message
assert "import encodings.no_such at the top" in ended(decodes).message
"#;

#[test]
fn a_slip_is_told_in_python() {
    passes("python3", &["-B", "-c", PYTHON], "sdk/python");
}

#[test]
fn a_slip_is_told_in_javascript() {
    passes("node", &["--input-type=module", "-e", JS], "sdk/js");
}

/// Builds a plugin in C of this source. What the build said, and the file.
fn built(folder: &Path, source: &str) -> (String, String) {
    let said = run("[ -d slips ] || lapwing plugin new slips --lang c", folder);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    fs::write(folder.join("slips/src/plugin.c"), source).unwrap();
    let said = run("lapwing plugin build slips", folder);
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{told}");
    let file = folder.join("slips/dist/slips.wasm");
    (told, file.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_is_told_in_c() {
    let folder = tempfile::tempdir().unwrap();
    let source = include_str!("fixtures/slips.c");
    let (_, file) = built(folder.path(), source);
    let web = targets::http().await;
    let page = |path: &str| json!({ "url": format!("http://{web}{path}") });
    let closed = targets::closed().await.port();
    let parting = targets::says(b"a\nb\0c\nd").await.port();
    let tried = |act: &str, port: u16, more: Value| {
        let mut config = json!({ "host": "127.0.0.1", "port": port, "act": act });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap_or_default());
        let said = say(&["plugin", "test", &file, "--json", "--config", &config.to_string()]);
        let trial: Value = said.json();
        let result = &trial["result"];
        let told = format!("{} {} {}", result["status"], result["reason"], result["message"]);
        (told.replace('"', ""), trial["output"].to_string())
    };
    for (act, port, more, wanted) in [
        ("pass over", closed, json!({}), "down connection_refused"),
        ("clear", closed, json!({}), "up null does not matter"),
        (
            "clear and forget",
            closed,
            json!({}),
            "unknown plugin_error the check ended without a verdict",
        ),
        (
            "key",
            closed,
            json!({}),
            "unknown plugin_error the schema has no `txet`",
        ),
        (
            "text",
            closed,
            json!({ "text": "\0x" }),
            "unknown invalid_config `text` has a NUL in it",
        ),
        (
            "number",
            closed,
            json!({ "number": 1e20 }),
            "up null 9223372036854775807",
        ),
        (
            "number",
            closed,
            json!({ "number": -1e20 }),
            "up null -9223372036854775808",
        ),
        ("number", closed, json!({ "number": 7.079e3 }), "up null 7079"),
        ("number", closed, json!({ "number": -42 }), "up null -42"),
        ("to end", parting, json!({}), "up null 7: a b"),
        (
            "to near end",
            parting,
            json!({}),
            "unknown plugin_error more than 6 bytes came",
        ),
        ("body", closed, page("/ok"), "up null all is well"),
        (
            "body",
            closed,
            page("/large"),
            "unknown plugin_error the body is larger than 256 KiB",
        ),
        ("assert", closed, json!({}), "unknown plugin_trap"),
        ("secret", closed, json!({}), "unknown denied_by_policy"),
        ("print", closed, json!({}), "up null printed"),
    ] {
        let (told, output) = tried(act, port, more.clone());
        assert!(told.starts_with(wanted), "{act} {more}: {told}");
        assert!(act != "print" || output.contains("three"), "{output}");
    }
}

#[test]
fn a_slip_is_told_in_c_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let source = include_str!("fixtures/slips.c");
    let (told, _) = built(
        folder.path(),
        &source.replace(
            "if (!lw_write(run, peer, \"hello\\n\", 6)) lw_log(LW_INFO, \"never mind\");",
            "lw_write(run, peer, \"hello\\n\", 6);",
        ),
    );
    assert!(told.contains("warn_unused_result"), "{told}");
    let refused = source
        .replace(".capabilities = CAPABILITIES,", "")
        .replace(r#"\"clear\"}""#, r#"\"pass over\"}""#);
    let (_, file) = built(folder.path(), &refused);
    let said = say(&["plugin", "conformance", &file]);
    assert!(
        said.code == 1 && said.out.contains("refused every one of them"),
        "{}{}",
        said.out,
        said.err
    );
    let elsewhere = source
        .replace(r#", \"x-lapwing-target\": \"port\""#, "")
        .replace(r#"\"clear\"}""#, r#"\"pass over\"}""#);
    assert_ne!(elsewhere, source);
    let (_, file) = built(folder.path(), &elsewhere);
    let said = say(&["plugin", "conformance", &file]);
    for told in [
        "it came to none of them",
        "the schema does not mark `port` as a port",
    ] {
        assert!(
            said.code == 1 && said.out.contains(told),
            "{}{}",
            said.out,
            said.err
        );
    }
    let (_, file) = built(folder.path(), &source.replace(".check = check,", ""));
    let said = say(&["plugin", "inspect", &file]);
    let told = format!("{}{}", said.out, said.err);
    assert!(told.contains("kind `slips`: one of `.title`"), "{told}");
}
