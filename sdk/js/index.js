// What a plugin imports. The types, with the words on each of them, are in index.d.ts.

export { definePlugin } from './lib/plugin.js';
export { Outcome, up, degraded, down, unknown } from './lib/outcome.js';
export { CheckError, NetError, SecretError, StateError, internal, invalidConfig, retryable, unsupported } from './lib/errors.js';
export { http } from './lib/http.js';
export { tcp } from './lib/tcp.js';
export { udp } from './lib/udp.js';
export { dns } from './lib/dns.js';
export { secrets, state } from './lib/memory.js';
export { log } from './lib/log.js';
