import assert from 'node:assert/strict';
import test from 'node:test';
import { fault, run } from '#sdk/testing';
import { checker } from '../src/plugin.js';

const config = { url: 'http://page.test/', contains: 'open' };
const look = (http) => run(checker, '{{name}}', config, { http });

test('a page with the text is up', async () => {
  const ended = await look(() => ({ body: 'we are open' }));
  assert.equal(ended.status, 'up', ended.message);
  assert.equal(ended.attributes['page.bytes'], 11);
});

test('a page without the text is down', async () => {
  const ended = await look(() => ({ body: 'gone fishing' }));
  assert.deepEqual([ended.status, ended.reason], ['down', 'assertion_failed']);
});

test('a page of which only a part came says nothing', async () => {
  assert.equal((await look(() => ({ body: ' '.repeat(300_000) + 'open' }))).error, 'internal');
});

test('a server that refuses is down, and a call that the worker refuses is not', async () => {
  assert.equal((await look(() => fault('refused'))).reason, 'connection_refused');
  assert.equal((await look(() => fault('access-denied', 'no rule'))).error, 'denied');
});
