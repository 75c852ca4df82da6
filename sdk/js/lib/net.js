// What the network calls share: time, endpoints, bytes.

import { host } from '#host';
import { millis } from './outcome.js';
import { known } from './shape.js';

const FAMILIES = { any: 'any', 4: 'v4', 6: 'v6' };
/** Kept back from the budget, so that a check whose call timed out can still tell of it in its own words. */
const RESERVE = 50_000_000n;

/** The run's connections and sockets that are not closed yet. */
export const opened = new Set();

/** The time a call may take: `limitMs` if there is one, and in any case a little less than what is left of the run. */
export function timeout(limitMs) {
  const remaining = host.context.remaining();
  const tenth = remaining / 10n;
  const usable = remaining - (tenth < RESERVE ? tenth : RESERVE);
  if (limitMs === undefined) return usable;
  const limit = BigInt(Math.max(0, Math.round(limitMs * 1e6)));
  return limit < usable ? limit : usable;
}

export function family(wanted = 'any') {
  const family = FAMILIES[wanted];
  if (!family) throw new TypeError(`\`${wanted}\` is no address family: \`any\`, 4 or 6`);
  return family;
}

/** What a connection or socket is opened with. */
export function dial(options) {
  known('a call', options, ['family', 'timeoutMs']);
  return { family: family(options.family), timeoutMs: options.timeoutMs };
}

export function tlsOptions(options = {}) {
  known('TLS', options, ['serverName', 'verify', 'alpn', 'clientIdentity']);
  const { serverName, verify = true, alpn = [], clientIdentity } = options;
  return { serverName, verify, alpn, clientIdentity };
}

export const timing = ({ dns, connect, tls, firstByte, total }) => ({
  dnsMs: millis(dns),
  connectMs: millis(connect),
  tlsMs: millis(tls),
  firstByteMs: millis(firstByte),
  totalMs: millis(total),
});

/** Text as UTF-8; bytes as they are. */
export function bytes(data) {
  if (typeof data === 'string') return new TextEncoder().encode(data);
  if (data instanceof Uint8Array) return data;
  throw new TypeError('data is text or a Uint8Array');
}

/** Bytes as text; what is not UTF-8 is replaced by U+FFFD. */
export const text = (data) => new TextDecoder().decode(data);
