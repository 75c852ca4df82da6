//! What a plugin's own `validate` finds is seen in its tests, in JavaScript and Python.

use super::withheld::passes;

const JS: &str = r"
import assert from 'node:assert/strict';
import { definePlugin, invalidConfig, up } from './index.js';
import { validate } from './testing.js';
const told = (problem) => validate(definePlugin({ name: 'k', version: '1.0.0', summary: '', kinds: { k: { title: '', summary: '', schema: {}, example: {}, check: () => up(''), validate: problem } } }), 'k', { a: 1 });
assert.deepEqual(told(({ a }) => [{ pointer: '/a', message: `is ${a}` }]), [{ pointer: '/a', message: 'is 1' }]);
assert.deepEqual(told(() => [{ message: 'no' }]), [{ pointer: '', message: 'no' }]);
assert.deepEqual(told(() => { throw invalidConfig('never'); }), [{ pointer: '', message: 'never' }]);
assert.deepEqual(told(undefined), []);
assert.throws(() => told(() => { throw new TypeError('a bug'); }), /a bug/);
";

const PYTHON: &str = r#"
import sys
sys.path[:0] = [".", "bindings"]
from lapwing_plugin.testing import validate
from lapwing_plugin import InvalidConfig, Plugin, Problem, up

def told(problems):
    plugin = Plugin("k", version="1.0.0", summary="")
    plugin.kind("k", title="", summary="", schema={}, example={}, validate=problems)(lambda config, cx: up(""))
    return validate(plugin.export(), "k", {"a": 1})

def never(config):
    raise InvalidConfig("never")

assert told(lambda config: [Problem(f"is {config['a']}", "/a")]) == [Problem("is 1", "/a")]
assert told(never) == [Problem("never")]
assert told(None) == []
try:
    told(lambda config: config["b"])
except KeyError:
    pass
else:
    raise AssertionError("a bug is not hidden")
"#;

#[test]
fn problems_are_seen_in_tests_in_javascript() {
    passes("node", &["--input-type=module", "-e", JS], "sdk/js");
}

#[test]
fn problems_are_seen_in_tests_in_python() {
    passes("python3", &["-B", "-c", PYTHON], "sdk/python");
}
