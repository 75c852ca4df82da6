import { definePlugin, down, http, up } from '#sdk';

export const checker = definePlugin({
  name: '{{name}}',
  version: '0.1.0',
  summary: 'Is a text on a page?',
  // Starting the engine costs more than a run: one instance may serve many, as nothing outside of `check` is changed by it.
  maxReuse: 100,
  kinds: {
    '{{name}}': {
      title: 'Text on a page',
      summary: 'Fetches a page and looks for a text on it',
      schema: {
        type: 'object',
        properties: {
          // `x-lapwing-target` names what the monitor is about: a run may reach that, and nothing else.
          url: { type: 'string', format: 'uri', description: 'Page to fetch.', 'x-lapwing-target': 'url' },
          contains: { type: 'string', minLength: 1, description: 'Text that must be on it.' },
        },
        required: ['url', 'contains'],
        additionalProperties: false,
      },
      example: { url: 'https://example.com/', contains: 'Example' },
      capabilities: [{ name: 'net.http', scope: ['{config.url}'], reason: 'fetches the page' }],
      check,
    },
  },
});

/** One run. A call that fails throws, and the run ends as down with the fitting reason: nothing to catch. */
function check({ url, contains }) {
  const page = http.get(url, { maxRedirects: 3 });
  if (!page.ok) return down('http_status', `answered ${page.status}, expected 200 to 299`);
  if (!page.text().includes(contains)) return down('assertion_failed', `\`${contains}\` is not on the page`);
  return up(`\`${contains}\` is on the page`, { latencyMs: page.timing.totalMs, attributes: { 'page.bytes': page.body.length } });
}
