// How calls fail and how runs end early. Only the errors of this file cross from a check to the worker: whatever else
// is thrown is the plugin's own fault (lib/plugin.js).

/** A run that ends without a verdict on its target. */
export class CheckError extends Error {
  constructor(tag, message) {
    super(message);
    this.name = 'CheckError';
    this.tag = tag;
  }
}

export const invalidConfig = (message) => new CheckError('invalid-config', message);
export const unsupported = (message) => new CheckError('unsupported', message);
export const retryable = (message) => new CheckError('retryable', message);
export const internal = (message) => new CheckError('internal', message);

// Reason and words of each failed call; those of a time-out and of TLS depend on the host's text.
const FAULTS = {
  'name-not-found': ['dns_not_found', () => 'name not found'],
  'resolver-failed': ['dns_failed', (text) => `name lookup failed: ${text}`],
  refused: ['connection_refused', () => 'connection refused'],
  unreachable: ['network_unreachable', () => 'network unreachable'],
  reset: ['connection_reset', () => 'connection reset'],
  closed: ['connection_closed', () => 'connection closed'],
  protocol: ['protocol_error', (text) => `protocol error: ${text}`],
  other: ['protocol_error', (text) => text],
  'access-denied': [undefined, (text) => `access denied: ${text}`],
  limit: [undefined, (text) => `limit reached: ${text}`],
};

// The host puts the step that took too long first.
const TIMEOUTS = {
  dns: ['dns_timeout', 'name lookup timed out'],
  connect: ['connection_timeout', 'connection timed out'],
  tls: ['tls_timeout', 'TLS handshake timed out'],
};

/** A failed network call. Thrown out of a check it ends the run as it should end. */
export class NetError extends Error {
  constructor(tag, text = '', during = undefined) {
    const [reason, words] = explain(tag, text);
    super(during ? `${during}: ${words}` : words);
    this.name = 'NetError';
    this.tag = tag;
    this.reason = reason;
  }

  static protocol(message) {
    return new NetError('protocol', message);
  }

  static limit(message) {
    return new NetError('limit', message);
  }
}

function explain(tag, text) {
  if (tag === 'timeout') return TIMEOUTS[text.split(':', 1)[0]] ?? ['response_timeout', 'no answer in time'];
  if (tag === 'tls') return [text.startsWith('certificate') ? 'tls_certificate' : 'tls_failed', text];
  const [reason, words] = FAULTS[tag] ?? ['protocol_error', () => `${tag} ${text}`];
  return [reason, words(text)];
}

export class SecretError extends Error {
  constructor(name, tag, text) {
    super(`secret \`${name}\`: ${text ?? tag}`);
    this.name = 'SecretError';
    this.tag = tag;
  }
}

export class StateError extends Error {
  constructor(key, tag, text) {
    super(`state \`${key}\`: ${text ?? tag}`);
    this.name = 'StateError';
    this.tag = tag;
  }
}

/** Calls the host. What it throws carries a variant or a name as `payload`; `wrap` makes an error of it. */
export function calling(action, wrap) {
  try {
    return action();
  } catch (thrown) {
    const payload = thrown?.payload;
    if (payload === undefined) throw thrown;
    throw typeof payload === 'string' ? wrap(payload) : wrap(payload.tag, payload.val);
  }
}

/** As `calling`, for network calls; `during` leads the message. */
export const dialling = (action, during) => calling(action, (tag, text) => new NetError(tag, text, during));
