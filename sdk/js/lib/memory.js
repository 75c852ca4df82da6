// A small memory between the runs of a monitor, and the secrets an operator granted.

import { host } from '#host';
import { SecretError, StateError, calling } from './errors.js';
import { bytes, text } from './net.js';

const about = (key) => (tag, message) => new StateError(key, tag, message);

export const state = {
  get: (key) => calling(() => host.state.get(key), about(key)),
  getText(key) {
    const value = state.get(key);
    return value && text(value);
  },
  set: (key, value, ttlSeconds) => calling(() => host.state.set(key, bytes(value), ttlSeconds), about(key)),
  delete: (key) => calling(() => host.state.delete(key), about(key)),
};

export const secrets = {
  reveal: (name) => calling(() => host.secrets.reveal(name), (tag, message) => new SecretError(name, tag, message)),
};
