// Connections, in plain text or with TLS.

import { host } from '#host';
import { dialling } from './errors.js';
import { bytes, dial, opened, text, timeout, timing, tlsOptions } from './net.js';

class Connection {
  #inner;
  #limitMs;

  constructor(inner, limitMs) {
    this.#inner = inner;
    this.#limitMs = limitMs;
    opened.add(this);
  }

  startTls(options) {
    return this.#call((limit) => this.#inner.startTls(tlsOptions(options), limit));
  }

  write(data) {
    const sent = bytes(data);
    this.#call((limit) => this.#inner.writeAll(sent, limit));
  }

  read(max) {
    return this.#call((limit) => this.#inner.read(max, limit));
  }

  readExact(n) {
    return this.#call((limit) => this.#inner.readExact(n, limit));
  }

  readUntil(delimiter, max) {
    return this.#call((limit) => this.#inner.readUntil(bytes(delimiter), max, limit));
  }

  readLine(max = 1024) {
    return text(this.readUntil('\n', max)).replace(/\r?\n$/, '');
  }

  shutdownWrite() {
    this.#inner.shutdownWrite();
  }

  get peer() {
    return this.#inner.peer();
  }

  get timing() {
    return timing(this.#inner.timing());
  }

  close() {
    if (opened.delete(this)) this.#inner[Symbol.dispose]?.();
  }

  #call(action) {
    return dialling(() => action(timeout(this.#limitMs)));
  }
}

export const tcp = {
  connect(to, port, options = {}) {
    const { family, timeoutMs } = dial(options);
    const connect = () => host.tcp.Connection.connect({ host: to, port }, family, timeout(timeoutMs));
    return new Connection(dialling(connect, `${to}:${port}`), timeoutMs);
  },
};
