// The worker, as a test sees it: answers are scripted, calls and lines are written down. See testing.js.

import { millis } from './outcome.js';

let script;

/** Puts a script in force for the calls that follow. */
export const use = (next) => {
  script = next;
};

/** A failed host call carries its error as `payload`, as in a component. */
class Fault extends Error {
  constructor(payload) {
    super(JSON.stringify(payload));
    this.payload = payload;
  }
}

const net = (tag, val) => new Fault({ tag, val });
const TIMING = { total: 1_000_000n };
const PEER = { address: '192.0.2.1', port: 0 };

/** Writes a call down and asks the script; what it throws as `fault(…)` fails the call, what it lacks is refused. */
function ask(what, handler, ...args) {
  if (!script) throw new Error('no run is under way: use `run` of lapwing-plugin/testing');
  script.calls.push([what, ...args]);
  if (!handler) throw net('access-denied', `the test answers no \`${what}\``);
  const answer = handler(...args);
  if (answer?.fault) throw net(answer.fault, answer.text);
  return answer;
}

class Connection {
  #peer;
  #unread = Buffer.alloc(0);

  static connect({ host, port }) {
    const connection = new Connection();
    connection.#peer = ask('tcp.connect', script?.tcp, host, port);
    connection.#receive(connection.#peer.greeting);
    return connection;
  }

  #receive(data) {
    if (data) this.#unread = Buffer.concat([this.#unread, Buffer.from(data)]);
  }

  #take(length) {
    const taken = this.#unread.subarray(0, length);
    this.#unread = this.#unread.subarray(length);
    return new Uint8Array(taken);
  }

  startTls(options) {
    if (this.#unread.length) throw net('protocol', 'unread bytes before the handshake');
    const tls = ask('tcp.start-tls', this.#peer.tls, options);
    return { protocol: 'TLSv1.3', cipher: 'TLS13_AES_128_GCM_SHA256', verified: true, chain: [], ...tls };
  }

  writeAll(data) {
    this.#receive(ask('tcp.write', this.#peer.answer ?? (() => undefined), Buffer.from(data).toString()));
  }

  read(max) {
    return this.#take(max);
  }

  readExact(n) {
    if (this.#unread.length < n) throw net('closed');
    return this.#take(n);
  }

  readUntil(delimiter, max) {
    const at = this.#unread.indexOf(Buffer.from(delimiter));
    if (at < 0) throw net('closed');
    if (at + delimiter.length > max) throw net('protocol', `no delimiter within ${max} bytes`);
    return this.#take(at + delimiter.length);
  }

  shutdownWrite() {}
  peer() {
    return PEER;
  }
  timing() {
    return TIMING;
  }
}

class Socket {
  #to;
  #replies = [];

  static open({ host, port }) {
    const socket = new Socket();
    socket.#to = [host, port];
    ask('udp.open', () => undefined, host, port);
    return socket;
  }

  send(data) {
    const reply = ask('udp.send', script.udp, ...this.#to, data);
    if (reply !== undefined) this.#replies.push(Buffer.from(reply));
  }

  receive(max) {
    const reply = this.#replies.shift();
    if (!reply) throw net('timeout', 'response: nothing came');
    return new Uint8Array(reply.subarray(0, max));
  }
}

function send(request) {
  const headers = Object.fromEntries(request.headers.map(([name, { tag, val }]) => [name.toLowerCase(), tag === 'secret' ? { secret: val } : val]));
  const body = request.body && Buffer.from(request.body).toString();
  const { method, url, maxRedirects, timeout } = request;
  const answer = ask('http.send', script?.http, { method, url, headers, body, maxRedirects, timeoutMs: millis(timeout) });
  const { status = 200, json } = answer;
  const sent = json === undefined ? (answer.body ?? '') : JSON.stringify(json);
  const bytes = new Uint8Array(Buffer.from(sent));
  return {
    status,
    version: 'HTTP/1.1',
    headers: Object.entries(answer.headers ?? {}).map(([name, value]) => [name, new Uint8Array(Buffer.from(value))]),
    body: bytes.subarray(0, request.maxResponseBytes),
    truncated: bytes.length > request.maxResponseBytes,
    finalUrl: url,
    peer: PEER,
    timing: TIMING,
  };
}

export const host = {
  context: {
    remaining: () => BigInt(Math.round((script?.budgetMs ?? 0) * 1e6)),
    granted: (capability) => script.granted.includes(capability),
  },
  log: { log: (level, message) => script?.lines.push(`${level}: ${message}`) },
  http: { send },
  tcp: { Connection },
  udp: { Socket },
  dns: {
    query(name, rtype) {
      const answers = ask('dns.query', script?.dns, name, rtype);
      const { rcode = 0 } = answers;
      const records = Array.isArray(answers) ? answers : [];
      return {
        rcode,
        authoritative: false,
        answers: records.map((data) => ({ name, ttl: 60, rtype, data })),
        elapsed: 1_000_000n,
      };
    },
  },
  state: {
    get: (key) => script.state.get(key),
    set: (key, value) => void script.state.set(key, value),
    delete: (key) => void script.state.delete(key),
  },
  secrets: {
    reveal(name) {
      if (!Object.hasOwn(script.secrets, name)) throw new Fault('access-denied');
      return script.secrets[name];
    },
  },
};
