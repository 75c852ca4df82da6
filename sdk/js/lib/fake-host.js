// The worker, as a test sees it: answers are scripted, calls and lines are written down. See testing.js.

import { millis, nanos } from './outcome.js';

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
const PEER = { address: '192.0.2.1', port: 0 };

/** Writes a call down and asks the script; what it throws as `fault(…)` fails the call, what it lacks is refused. */
function ask(what, handler, ...args) {
  if (!script) throw new Error('no run is under way: use `run` of lapwing-plugin/testing');
  script.calls.push([what, ...args]);
  if (!handler) throw net('access-denied', `the test answers no \`${what}\``);
  const answer = handler(...args);
  if (answer?.fault) throw net(answer.fault, answer.text);
  return shaped(what, answer);
}

const isData = (value) => typeof value === 'string' || value instanceof Uint8Array;
const isBare = (value) => isData(value) || value === undefined;
const has = (value, names) =>
  value?.constructor === Object && Object.keys(value).every((name) => names.includes(name));
const isList = (value) => Array.isArray(value) && value.every((one) => typeof one === 'string');

/** What a script may answer to each call: whether it is that, and how it looks. */
const SHAPES = {
  'http.send': [(got) => has(got, ['status', 'headers', 'body', 'json', 'tookMs']), "{ status: 200, body: '…' }"],
  'tcp.connect': [
    (got) => has(got, ['greeting', 'answer', 'tls', 'tookMs']) && isBare(got.greeting) && ['function', 'undefined'].includes(typeof got.answer),
    "{ greeting: '220 ready\\r\\n', answer: (sent) => '250 ok\\r\\n' }",
  ],
  'tcp.write': [isBare, "text, a Uint8Array or nothing from the peer's `answer`"],
  'udp.send': [isBare, 'text, a Uint8Array or nothing'],
  'dns.query': [(got) => isList(got) || (has(got, ['rcode', 'data', 'tookMs']) && isList(got.data ?? [])), "['192.0.2.1'] or { rcode: 3 }"],
};

/** A slip of the script is neither the target's fault nor the plugin's: `run` throws it, whatever the check makes of it. */
function shaped(what, answer) {
  const [fits, wanted] = SHAPES[what] ?? [() => true];
  if (fits(answer)) return answer;
  script.slip = new TypeError(`the script answered \`${what}\` with ${JSON.stringify(answer)}; expected ${wanted}, or \`fault(…)\``);
  throw script.slip;
}

/** Lets `ms` of the run pass in a call that may wait `limit` nanoseconds; it fails where that is too short. */
function wait(ms = 0, limit, step) {
  const allowed = millis(limit);
  script.spentMs += Math.min(ms, allowed);
  if (ms > allowed) throw net('timeout', `${step}: nothing within ${allowed} ms`);
}

const timing = (ms = 1) => ({ total: nanos(ms) });

class Connection {
  #peer;
  #unread = Buffer.alloc(0);

  static connect({ host, port }, family, limit) {
    const connection = new Connection();
    connection.#peer = ask('tcp.connect', script?.tcp, host, port);
    wait(connection.#peer.tookMs, limit, 'connect');
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
    return timing(this.#peer.tookMs);
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
  const { status = 200, json, tookMs } = answer;
  wait(tookMs, timeout, 'response');
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
    timing: timing(tookMs),
  };
}

export const host = {
  context: {
    remaining: () => nanos((script?.budgetMs ?? 0) - (script?.spentMs ?? 0)),
    granted: (capability) => script.granted.includes(capability),
  },
  log: { log: (level, message) => script?.lines.push(`${level}: ${message}`) },
  http: { send },
  tcp: { Connection },
  udp: { Socket },
  dns: {
    query(name, rtype, server, limit) {
      const answers = ask('dns.query', script?.dns, name, rtype);
      const { rcode = 0, data = [], tookMs } = Array.isArray(answers) ? { data: answers } : answers;
      wait(tookMs, limit, 'dns');
      return {
        rcode,
        authoritative: false,
        answers: data.map((one) => ({ name, ttl: 60, rtype, data: one })),
        elapsed: nanos(tookMs ?? 1),
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
