//! What a test's script can say in the languages whose worker is played: time, defaults, and what it said amiss.

use super::withheld::passes;

const JS: &str = r"
import assert from 'node:assert/strict';
import { definePlugin, degraded, dns, http, tcp, udp, up } from './index.js';
import { run, validate } from './testing.js';
const schema = { type: 'object', properties: { slowMs: { type: 'integer', default: 200 }, deep: { properties: { a: { default: 1 } } } } };
const made = (check, more) => definePlugin({ name: 'k', version: '1.0.0', summary: '', kinds: { k: { title: '', summary: '', schema, example: {}, check, ...more } } });
const judged = (took) => (config) => (took() > config.slowMs ? degraded('k_slow', `took ${took()} ms`) : up('quick'));

const page = made(judged(() => http.get('http://page.test/').timing.totalMs));
assert.equal((await run(page, 'k', {}, { http: () => ({}) })).status, 'up');
assert.equal((await run(page, 'k', {}, { http: () => ({ tookMs: 201 }) })).status, 'degraded');
assert.equal((await run(page, 'k', { slowMs: 300 }, { http: () => ({ tookMs: 201 }) })).status, 'up');
assert.equal((await run(page, 'k', {}, { http: () => ({ tookMs: 201 }), budgetMs: 200 })).reason, 'response_timeout');
const line = made(judged(() => tcp.connect('a.test', 1).timing.totalMs));
assert.equal((await run(line, 'k', {}, { tcp: () => ({ tookMs: 250 }) })).status, 'degraded');
assert.equal((await run(line, 'k', {}, { tcp: () => ({ tookMs: 250 }), budgetMs: 200 })).reason, 'connection_timeout');
const name = made(judged(() => dns.query('a.test', 'A').elapsedMs));
assert.equal((await run(name, 'k', {}, { dns: () => ({ data: ['192.0.2.1'], tookMs: 250 }) })).status, 'degraded');
const left = made((_, cx) => { http.get('http://page.test/'); return up(String(cx.remainingMs())); });
assert.equal((await run(left, 'k', {}, { http: () => ({ tookMs: 400 }), budgetMs: 1000 })).message, '600');

const seen = made((config) => up(JSON.stringify(config)), { validate: ({ slowMs }) => [{ message: `${slowMs}` }] });
assert.equal((await run(seen, 'k', { deep: {} })).message, JSON.stringify({ slowMs: 200, deep: {} }));
assert.equal((await run(seen, 'k', { slowMs: 1 })).message, JSON.stringify({ slowMs: 1 }));
assert.equal(validate(seen, 'k', {})[0].message, '200');

const swallows = (call) => made(() => { try { call(); } catch {} return up('no matter'); });
for (const [call, script, wanted] of [
  [() => tcp.connect('a.test', 1), { tcp: () => ['220 ready'] }, /expected \{ greeting: .* answer: /],
  [() => tcp.connect('a.test', 1), { tcp: () => '220 ready' }, /expected \{ greeting: /],
  [() => tcp.connect('a.test', 1), { tcp: () => ({ answer: 'ok' }) }, /expected \{ greeting: /],
  [() => tcp.connect('a.test', 1).write('hi'), { tcp: () => ({ answer: () => ['ok'] }) }, /`answer`/],
  [() => http.get('http://a.test/'), { http: () => 'page' }, /expected \{ status: 200/],
  [() => udp.open('a.test', 1).send('hi'), { udp: () => 7 }, /expected text/],
  [() => dns.query('a.test', 'A'), { dns: () => '192.0.2.1' }, /expected \['192/],
]) await assert.rejects(run(swallows(call), 'k', {}, script), wanted);
";

const PYTHON: &str = r#"
import sys
sys.path[:0] = [".", "bindings"]
from lapwing_plugin.testing import Answers, Peer, Reply, Script, run, validate
from lapwing_plugin import Plugin, Problem, degraded, dns, http, tcp, udp, up

schema = {"type": "object", "properties": {"slow_ms": {"type": "integer", "default": 200}, "deep": {"properties": {"a": {"default": 1}}}}}

def made(check, **more):
    plugin = Plugin("k", version="1.0.0", summary="")
    plugin.kind("k", title="", summary="", schema=schema, example={}, **more)(check)
    return plugin.export()

def judged(took):
    return made(lambda config, cx: degraded("k_slow", "slow") if took() > config["slow_ms"] else up("quick"))

page = judged(lambda: http.get("http://page.test/").timing.total_ms)
slow = lambda request: Reply(took_ms=201)
assert run(page, "k", {}, Script(http=lambda request: Reply())).status == "up"
assert run(page, "k", {}, Script(http=slow)).status == "degraded"
assert run(page, "k", {"slow_ms": 300}, Script(http=slow)).status == "up"
assert run(page, "k", {}, Script(http=slow, budget_ms=200)).reason == "response_timeout"
line = judged(lambda: tcp.connect("a.test", 1).timing.total_ms)
assert run(line, "k", {}, Script(tcp=lambda host, port: Peer(took_ms=250))).status == "degraded"
assert run(line, "k", {}, Script(tcp=lambda host, port: Peer(took_ms=250), budget_ms=200)).reason == "connection_timeout"
name = judged(lambda: dns.query("a.test", "A").elapsed / 1e6)
assert run(name, "k", {}, Script(dns=lambda name, rtype: Answers(["192.0.2.1"], took_ms=250))).status == "degraded"

def left(config, cx):
    http.get("http://page.test/")
    return up(str(cx.remaining_ms()))

assert run(made(left), "k", {}, Script(http=lambda request: Reply(took_ms=400), budget_ms=1000)).message == "600.0"

seen = made(lambda config, cx: up(str(config)), validate=lambda config: [Problem(str(config["slow_ms"]))])
assert run(seen, "k", {"deep": {}}).message == str({"slow_ms": 200, "deep": {}})
assert run(seen, "k", {"slow_ms": 1}).message == str({"slow_ms": 1})
assert validate(seen, "k", {}) == [Problem("200")]

def talk(config, cx):
    with tcp.connect("a.test", 1) as peer:
        greeting = peer.read_line()
        peer.write(b"hi\n")
        return up(greeting + " " + peer.read_line())

spoken = run(made(talk), "k", {}, Script(tcp=lambda host, port: Peer("ready\n", lambda sent: sent.decode())))
assert spoken.message == "ready hi", spoken

def swallows(call):
    def check(config, cx):
        try:
            call()
        except Exception:
            pass
        return up("no matter")
    return made(check)

for call, script, wanted in [
    (lambda: tcp.connect("a.test", 1), Script(tcp=lambda host, port: ["220 ready"]), "expected `Peer("),
    (lambda: tcp.connect("a.test", 1).write(b"hi"), Script(tcp=lambda host, port: Peer(answer=lambda sent: ["ok"])), "expected bytes"),
    (lambda: http.get("http://a.test/"), Script(http=lambda request: "page"), "expected `Reply("),
    (lambda: udp.open("a.test", 1).send(b"hi"), Script(udp=lambda *to: 7), "expected bytes"),
    (lambda: dns.query("a.test", "A"), Script(dns=lambda *asked: "192.0.2.1"), "expected `["),
    (lambda: http.get("http://a.test/"), Script(http=lambda: Reply()), "positional argument"),
]:
    try:
        run(swallows(call), "k", {}, script)
    except TypeError as slip:
        assert wanted in str(slip), slip
    else:
        raise AssertionError(f"{wanted}: the test's slip was not told")
"#;

#[test]
fn a_script_tells_time_and_its_slips_are_told_in_javascript() {
    passes("node", &["--input-type=module", "-e", JS], "sdk/js");
}

#[test]
fn a_script_tells_time_and_its_slips_are_told_in_python() {
    passes("python3", &["-B", "-c", PYTHON], "sdk/python");
}
