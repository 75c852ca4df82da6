//! What a schema cannot say of a configuration is told by `config-check`, in the languages that have no macro for it.

use super::{run, withheld::passes};
use std::fs;

/// Begins a project, writes `with` in place of `what` in its source, and tries it with a text of spaces and with one that
/// nobody can find fault with. Nothing listens at the page's port.
fn told(language: &str, source: &str, changes: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let begin = format!("lapwing plugin new door --lang {language}");
    assert!(run(&begin, folder.path()).status.success());
    let path = folder.path().join("door").join(source);
    let mut text = fs::read_to_string(&path).unwrap();
    for (what, with) in changes {
        assert!(text.contains(what), "{language}: `{what}` is not in the template");
        text = text.replacen(what, with, 1);
    }
    fs::write(&path, text).unwrap();
    let script = r#"cd door; lapwing plugin build
        try() { lapwing plugin test dist/door.wasm --config "{\"url\": \"http://127.0.0.1:9/\", \"contains\": \"$1\"}" || echo "exit $?"; }
        try "  "; try open"#;
    let said = run(script, folder.path());
    let (out, err) = (
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr),
    );
    assert!(
        out.contains("exit 64") && format!("{out}{err}").contains("`contains`: is all spaces"),
        "{language}: {out}\n{err}"
    );
    assert!(
        out.contains("connection_refused") && out.contains("exit 1\n"),
        "{language}: {out}\n{err}"
    );
}

#[test]
fn a_plugin_in_javascript_tells_what_its_schema_cannot() {
    let validate = "check,\n      validate: ({ contains }) => (contains.trim() ? [] : [{ pointer: '/contains', message: 'is all spaces' }]),\n";
    told("js", "src/plugin.js", &[("check,\n", validate)]);
}

#[test]
fn a_plugin_in_python_tells_what_its_schema_cannot() {
    let validate = "    validate=lambda config: [] if config[\"contains\"].strip() else [Problem(\"is all spaces\", \"/contains\")],\n    capabilities=";
    let import = (
        "import Capability, Plugin,",
        "import Capability, Plugin, Problem,",
    );
    told("python", "plugin.py", &[import, ("    capabilities=", validate)]);
}

#[test]
fn a_plugin_in_c_tells_what_its_schema_cannot() {
    let function = "static void validate(lw_run *run) {\n  const char *text = lw_text(run, \"contains\", \"\");\n  \
                    if (!text[strspn(text, \" \")]) lw_problem(run, \"/contains\", \"is all %s\", \"spaces\");\n}\n\n\
                    static const lw_capability";
    let field = (
        ".check = check,",
        ".check = check,\n        .validate = validate,",
    );
    told(
        "c",
        "src/plugin.c",
        &[("static const lw_capability", function), field],
    );
}

const JS: &str = r"
import assert from 'node:assert/strict';
import { definePlugin, invalidConfig, up } from './index.js';
import { validate } from './testing.js';
const told = (problem) => validate(definePlugin({ name: 'k', version: '1.0.0', summary: '', kinds: { k: { check: () => up(''), validate: problem } } }), 'k', { a: 1 });
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
