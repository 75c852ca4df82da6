// What a status page says of a service: Atlassian Statuspage's public API (`/api/v2/status.json`, `/api/v2/components.json`), which
// other status pages speak too.

import { NetError, definePlugin, degraded, down, http, invalidConfig, up } from '#sdk';

// The page's words, and how bad they are: 0 well, 1 not quite, 2 broken.
const INDICATORS = { none: 0, maintenance: 1, minor: 1, major: 2, critical: 2 };
const COMPONENTS = { operational: 0, under_maintenance: 1, degraded_performance: 1, partial_outage: 1, major_outage: 2 };
// Some ten thousand components.
const MAX_BODY_BYTES = 2 << 20;

export const checker = definePlugin({
  name: 'statuspage',
  version: '0.1.0',
  summary: 'What a status page says of a service',
  license: 'Apache-2.0',
  maxReuse: 100,
  kinds: {
    statuspage: {
      title: 'Status page',
      summary: 'Indicator of a Statuspage, or the status of one of its components',
      schema: {
        type: 'object',
        properties: {
          url: { type: 'string', format: 'uri', description: 'The status page, without `/api/v2`.', 'x-lapwing-target': 'url' },
          component: { type: 'string', minLength: 1, description: 'Judge this component only, by its name; the whole page when absent.' },
          maintenance: { enum: ['up', 'degraded'], default: 'degraded', description: 'What announced maintenance counts as.' },
        },
        required: ['url'],
        additionalProperties: false,
      },
      example: { url: 'https://www.githubstatus.com', component: 'Git Operations' },
      capabilities: [{ name: 'net.http', scope: ['{config.url}'], reason: 'reads the status page' }],
      check,
    },
  },
});

function check(config) {
  return config.component ? component(config) : page(config);
}

function page({ url, maintenance }) {
  const { status: answer, latencyMs } = ask(url, 'status.json');
  const { indicator, description } = answer ?? {};
  return verdict(severity(INDICATORS, indicator), maintenance, String(description ?? indicator), latencyMs, {
    'statuspage.indicator': indicator,
  });
}

function component({ url, component: name, maintenance }) {
  const { components, latencyMs } = ask(url, 'components.json');
  if (!Array.isArray(components)) throw NetError.protocol('components.json has no list of components');
  const found = components.find((candidate) => candidate?.name === name);
  if (!found) {
    const known = components.map((candidate) => `\`${candidate?.name}\``).slice(0, 20).join(', ');
    throw invalidConfig(`the page has no component \`${name}\`; it has ${known}`);
  }
  const { status } = found;
  const words = `${name}: ${String(status).replaceAll('_', ' ')}`;
  return verdict(severity(COMPONENTS, status), maintenance, words, latencyMs, { 'statuspage.component': status });
}

function ask(url, file) {
  const answer = http.get(`${url.replace(/\/+$/, '')}/api/v2/${file}`, {
    headers: { accept: 'application/json' },
    maxRedirects: 3,
    maxBodyBytes: MAX_BODY_BYTES,
  });
  // The page is the target's herald: when it is silent, nothing is known of the service, but the page itself is down.
  if (!answer.ok) throw down('http_status', `${file} answered ${answer.status}, expected 200`);
  return { ...answer.json(), latencyMs: answer.timing.totalMs };
}

/** How bad a word is; one that is none breaks the protocol. */
function severity(words, word) {
  if (!Object.hasOwn(words, word)) throw NetError.protocol(`\`${word}\` is no status; expected ${Object.keys(words).join(', ')}`);
  return { word, bad: words[word] };
}

function verdict({ word, bad }, maintenance, message, latencyMs, attributes) {
  const facts = { latencyMs, attributes };
  const planned = word === 'maintenance' || word === 'under_maintenance';
  if (bad === 0 || (planned && maintenance === 'up')) return up(message, facts);
  if (planned) return degraded('statuspage_maintenance', message, facts);
  return bad === 1 ? degraded('statuspage_trouble', message, facts) : down('statuspage_outage', message, facts);
}
