// Runs a plugin's checks under Node.js, against a scripted worker: `node --test`. Types and words are in testing.d.ts.

import { use } from './lib/fake-host.js';
import { known } from './lib/shape.js';

const SCRIPT = ['http', 'tcp', 'udp', 'dns', 'granted', 'secrets', 'budgetMs', 'state', 'previous'];

/** Scripts a failed call: `return fault('refused')`. */
export const fault = (tag, text = '') => ({ fault: tag, text });

/** One run of a kind, as the worker would have it. */
export async function run(checker, kind, config, script = {}) {
  known('the script', script, SCRIPT);
  const { http, tcp, udp, dns, granted = [], secrets = {}, budgetMs = 10_000, state = new Map() } = script;
  const played = { http, tcp, udp, dns, granted, secrets, budgetMs, spentMs: 0, state, calls: [], lines: [] };
  use(played);
  const stray = (thrown) => (played.slip ??= new Error(`a promise failed that nobody awaits: ${thrown?.message ?? thrown}`, { cause: thrown }));
  process.on('unhandledRejection', stray);
  const request = {
    checkType: kind,
    monitorId: 'monitor-1',
    runId: 'run-1',
    config: filled(checker, kind, config),
    budget: BigInt(budgetMs) * 1_000_000n,
    attempt: 1,
    previous: script.previous,
  };
  try {
    const outcome = await checker.check(request);
    // Node.js tells of promises that nobody awaits once all others are through.
    await new Promise(setImmediate);
    if (played.slip) throw played.slip;
    return { ...readable(outcome), calls: played.calls, log: played.lines };
  } catch (thrown) {
    if (played.slip) throw played.slip;
    if (!thrown?.payload?.tag) throw thrown;
    const { tag, val } = thrown.payload;
    return { error: tag, message: val, calls: played.calls, log: played.lines };
  } finally {
    process.off('unhandledRejection', stray);
    use(undefined);
  }
}

/** What a kind finds wrong with a config that fits its schema. */
export function validate(checker, kind, config) {
  use({ calls: [], lines: [], granted: [] });
  try {
    return checker.configCheck.validate(kind, filled(checker, kind, config));
  } finally {
    use(undefined);
  }
}

/** The config with the schema's defaults, as the worker gives it: those of its own fields, not of fields within. */
function filled(checker, kind, config) {
  const about = checker.describe().checkTypes.find(({ name }) => name === kind);
  const { properties = {} } = JSON.parse(about?.configSchema ?? '{}');
  const defaults = Object.entries(properties).filter(([, property]) => property?.default !== undefined);
  return JSON.stringify({ ...Object.fromEntries(defaults.map(([name, property]) => [name, property.default])), ...config });
}

function readable({ status, reason, message, latency, attributes, metrics, details }) {
  const value = ({ tag, val }) => (tag === 'int' ? Number(val) : val);
  return {
    status,
    reason,
    message,
    latencyMs: latency === undefined ? undefined : Number(latency) / 1e6,
    attributes: Object.fromEntries(attributes.map(({ key, value: held }) => [key, value(held)])),
    metrics: Object.fromEntries(metrics.map(({ name, value: number }) => [name, number])),
    details: details === undefined ? undefined : JSON.parse(details),
  };
}
