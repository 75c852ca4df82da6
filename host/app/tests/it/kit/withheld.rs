//! What a run says that is refused a secret or its state, in the languages whose errors the compiler does not see to.

use super::repository;
use std::process::Command;

const JS: &str = r"
import assert from 'node:assert/strict';
import { definePlugin, secrets, state, tcp, up } from './index.js';
import { opened } from './lib/net.js';
import { run } from './testing.js';
const kind = (check) => definePlugin({ name: 'k', version: '1.0.0', summary: '', kinds: { k: { title: '', summary: '', schema: {}, example: {}, check } } });
const away = { get() { throw { payload: { tag: 'unavailable', val: 'redis is away' } }; } };
const full = { get() { throw { payload: { tag: 'too-large' } }; } };
const read = kind(() => up(state.getText('memo') ?? ''));
assert.equal((await run(kind(() => up(secrets.reveal('token'))), 'k', {})).error, 'denied');
assert.equal((await run(read, 'k', {}, { state: away })).error, 'retryable');
assert.equal((await run(read, 'k', {}, { state: full })).error, 'internal');

const dial = kind(() => { tcp.connect('mail.test', 25); throw new Error('left open'); });
await run(dial, 'k', {}, { tcp: () => ({}) });
assert.equal(opened.size, 0, 'the next run finds nothing open');
";

const PYTHON: &str = r#"
import sys
sys.path[:0] = [".", "bindings"]
from lapwing_plugin.testing import Script, run
from lapwing_plugin import Plugin, secrets, state, up
from componentize_py_types import Err
from wit_world.imports import state as host

plugin = Plugin("k", version="1.0.0", summary="")

@plugin.kind("secret", title="", summary="", schema={}, example={})
def secret(config, cx):
    return up(secrets.reveal("token"))

@plugin.kind("memo", title="", summary="", schema={}, example={})
def memo(config, cx):
    return up(str(state.get("memo")))

class Away(dict):
    def get(self, key):
        raise Err(host.StateError_Unavailable("redis is away"))

class Full(dict):
    def get(self, key):
        raise Err(host.StateError_TooLarge())

def ended(kind, kept):
    return run(plugin.export(), kind, {}, Script(state=kept)).error

assert ended("secret", {}) == "Denied"
assert ended("memo", Away()) == "Retryable"
assert ended("memo", Full()) == "Internal"
"#;

/// Runs a script in a folder of the SDK.
pub(super) fn passes(program: &str, arguments: &[&str], folder: &str) {
    let said = Command::new(program)
        .args(arguments)
        .current_dir(repository().join(folder))
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn a_refusal_is_not_the_plugins_fault_in_javascript() {
    passes("node", &["--input-type=module", "-e", JS], "sdk/js");
}

#[test]
fn a_refusal_is_not_the_plugins_fault_in_python() {
    passes("python3", &["-B", "-c", PYTHON], "sdk/python");
}
