// DNS questions, asked by the host. NXDOMAIN and an empty answer are replies, not errors.

import { host } from '#host';
import { dialling } from './errors.js';
import { timeout } from './net.js';
import { millis } from './outcome.js';
import { known } from './shape.js';

export const dns = {
  query(name, rtype, options = {}) {
    known('a DNS query', options, ['server', 'timeoutMs']);
    const { server, timeoutMs } = options;
    const reply = dialling(() => host.dns.query(name, rtype, server, timeout(timeoutMs)), name);
    return { ...reply, elapsed: undefined, elapsedMs: millis(reply.elapsed) };
  },
};
