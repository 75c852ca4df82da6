// A verdict and what supports it, as authors write it and as the interface wants it.

import { known } from './shape.js';

const FACTS = ['latencyMs', 'attributes', 'metrics', 'tls', 'details'];

/** What a run says of its target. */
export class Outcome {
  constructor(status, reason, message, facts = {}) {
    if (message === undefined) throw new TypeError(`\`${status}\` without a message: ${WORDS[status]}`);
    known(`the facts of \`${status}\``, facts, FACTS);
    Object.assign(this, facts, { status, reason, message: awaited(message) });
  }
}

const WORDS = {
  up: '`up(message)`',
  degraded: '`degraded(reason, message)`',
  down: '`down(reason, message)`',
  unknown: '`unknown(reason, message)`',
};

/** A promise in a text is an `await` that was forgotten: the verdict rests on nothing. */
function awaited(value) {
  const text = String(value);
  if (text.includes('[object Promise]')) throw new TypeError(`\`${text}\` has a promise in it: an \`await\` is missing`);
  return text;
}

export const up = (message, facts) => new Outcome('up', undefined, message, facts);
export const degraded = (reason, message, facts) => new Outcome('degraded', reason, message, facts);
export const down = (reason, message, facts) => new Outcome('down', reason, message, facts);
export const unknown = (reason, message, facts) => new Outcome('unknown', reason, message, facts);

const NANOS = 1e6;

/** Milliseconds as the interface's nanoseconds; nothing for what is no span of time. */
export const nanos = (ms) => (Number.isFinite(ms) && ms >= 0 ? BigInt(Math.round(ms * NANOS)) : undefined);

/** The interface's nanoseconds as milliseconds. */
export const millis = (nanos) => (nanos === undefined ? undefined : Number(nanos) / NANOS);

/** Lowers an outcome to the interface's record. */
export function lower({ status, reason, message, latencyMs, attributes = {}, metrics = [], tls, details }) {
  return {
    status,
    reason,
    message,
    latency: nanos(latencyMs),
    phases: [],
    metrics: metrics.map(({ name, value, unit, labels = {} }) => ({
      name,
      value: Number(value),
      unit,
      labels: Object.entries(labels).map(([key, label]) => [key, String(label)]),
    })),
    attributes: Object.entries(attributes)
      .filter(([, value]) => value !== undefined && value !== null)
      .map(([key, value]) => ({ key, value: attribute(value) })),
    tls,
    details: details === undefined ? undefined : JSON.stringify(details),
  };
}

function attribute(value) {
  if (typeof value === 'boolean') return { tag: 'boolean', val: value };
  if (typeof value === 'bigint') return { tag: 'int', val: BigInt.asIntN(64, value) };
  if (typeof value !== 'number') return { tag: 'text', val: awaited(value) };
  return Number.isSafeInteger(value) ? { tag: 'int', val: BigInt(value) } : { tag: 'float', val: value };
}
