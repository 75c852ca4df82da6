// Datagrams to and from one peer.

import { host } from '#host';
import { dialling } from './errors.js';
import { bytes, dial, opened, timeout } from './net.js';

class Socket {
  #inner;
  #limitMs;

  constructor(inner, limitMs) {
    this.#inner = inner;
    this.#limitMs = limitMs;
    opened.add(this);
  }

  send(datagram) {
    const sent = bytes(datagram);
    dialling(() => this.#inner.send(sent));
  }

  receive(max = 1500) {
    return dialling(() => this.#inner.receive(max, timeout(this.#limitMs)));
  }

  close() {
    if (opened.delete(this)) this.#inner[Symbol.dispose]?.();
  }
}

export const udp = {
  open(to, port, options = {}) {
    const { family, timeoutMs } = dial(options);
    const opened = dialling(() => host.udp.Socket.open({ host: to, port }, family), `${to}:${port}`);
    return new Socket(opened, timeoutMs);
  },
};
