//! What an author writes amiss is told as that, where no compiler tells it: in JavaScript.

use super::withheld::passes;

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

const login = async () => http.get('http://a.test/');
await assert.rejects(check(() => { login(); return up('well'); }), /a promise failed that nobody awaits: access denied/);
assert.equal((await check(async () => { await login(); return up('well'); })).error, 'denied');
await assert.rejects(check(() => up('well'), { htpp: () => ({}) }), /the script: `htpp` is unknown/);
";

#[test]
fn a_slip_is_told_in_javascript() {
    passes("node", &["--input-type=module", "-e", JS], "sdk/js");
}
