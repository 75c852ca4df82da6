import assert from 'node:assert/strict';
import test from 'node:test';
import { fault, run } from '#sdk/testing';
import { checker } from '../src/plugin.js';

const page = (indicator) => ({ status: { indicator, description: `it is ${indicator}` } });
const components = { components: [{ name: 'API', status: 'operational' }, { name: 'Git', status: 'major_outage' }] };
const look = (json, config = {}) =>
  run(checker, 'statuspage', { url: 'https://status.test/', maintenance: 'degraded', ...config }, { http: () => (json.fault ? json : { json }) });

test('an indicator becomes a status', async () => {
  const seen = {};
  for (const indicator of ['none', 'minor', 'major', 'critical', 'maintenance']) seen[indicator] = (await look(page(indicator))).status;
  assert.deepEqual(seen, { none: 'up', minor: 'degraded', major: 'down', critical: 'down', maintenance: 'degraded' });
});

test('maintenance may count as up', async () => {
  assert.equal((await look(page('maintenance'), { maintenance: 'up' })).status, 'up');
});

test('one component is judged alone', async () => {
  const well = await look(components, { component: 'API' });
  assert.deepEqual([well.status, well.message, well.calls[0][1].url], ['up', 'API: operational', 'https://status.test/api/v2/components.json']);
  const broken = await look(components, { component: 'Git' });
  assert.deepEqual([broken.status, broken.reason], ['down', 'statuspage_outage']);
});

test('a component that is not there is a fault of the config, not of the target', async () => {
  const ended = await look(components, { component: 'Gti' });
  assert.equal(ended.error, 'invalid-config');
  assert.match(ended.message, /`API`, `Git`/);
});

test('a page with thousands of components is read, and one that is too large is no outage', async () => {
  const many = (count) => ({ ...page('none'), components: Array.from({ length: count }, (_, at) => ({ name: `component ${at}` })) });
  assert.equal((await look(many(20_000))).status, 'up');
  assert.equal((await look(many(200_000))).error, 'internal');
});

test('an answer that is something else breaks the protocol', async () => {
  for (const odd of [{}, { status: { indicator: 'great' } }, { status: null }]) assert.equal((await look(odd)).reason, 'protocol_error');
  assert.equal((await look(fault('tls', 'certificate not accepted: expired'))).reason, 'tls_certificate');
});
