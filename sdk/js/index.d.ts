/** Makes a plugin; its result must be exported as `checker`. */
export function definePlugin(plugin: Plugin): Checker;

export interface Plugin {
  name: string;
  version: string;
  /** One line for people. */
  summary: string;
  license?: string;
  homepage?: string;
  /**
   * Runs of one monitor that an instance may serve, if the operator allows it; 1, the default, is a fresh instance for each.
   * With more of them, what stands outside of `check` lasts from run to run.
   */
  maxReuse?: number;
  /** Kinds of check by name: `^[a-z][a-z0-9-]{0,31}$`. */
  kinds: Record<string, Kind>;
}

/** What the component exports. */
export interface Checker {
  describe(): unknown;
  check(request: unknown): Promise<unknown>;
  configCheck: { validate(kind: string, config: string): Required<Problem>[] };
}

export interface Kind<Config = any> {
  title: string;
  summary: string;
  /** JSON Schema of `config`: the worker validates against it before every run, and fills in defaults. */
  schema: object;
  /** A config that fits the schema; shown to users. */
  example: Config;
  /** JSON pointers into the config that hold secrets (`/password`). */
  sensitive?: string[];
  capabilities?: Capability[];
  defaultIntervalMs?: number;
  defaultTimeoutMs?: number;
  /**
   * One run. Return what the target did: a target that is down is a result, not an error.
   * A `NetError` that is thrown ends the run as it should end; any other error counts as the plugin's own fault.
   */
  check(config: Config, cx: Context): Outcome | Promise<Outcome>;
  /**
   * What the schema cannot say: everything that is wrong with a config that fits it. Asked when somebody sets up or tries out a
   * monitor, not in its runs; nothing of the worker but its log can be used here.
   */
  validate?(config: Config): Problem[];
}

/** Something wrong with a config. */
export interface Problem {
  /** JSON pointer to the value (`/port`); the whole config by default. */
  pointer?: string;
  message: string;
}

export interface Capability {
  /** `net.http`, `net.tcp`, `net.udp`, `net.dns`, `net.wasi-http`, `secret` or `state`. */
  name: string;
  /** Host patterns or secret names; `{config.host}` stands for a value of the monitor's config. */
  scope?: string[];
  optional?: boolean;
  /** Why, for the operator. */
  reason: string;
}

/** The run at hand. */
export interface Context {
  /** Opaque ids, for logs. */
  readonly monitorId: string;
  readonly runId: string;
  /** 1 for the first try. */
  readonly attempt: number;
  /** The status of the run before, if it is known. */
  readonly previous?: Status;
  /** Milliseconds the run had when it began. */
  readonly budgetMs: number;
  /** Milliseconds left. Every network call minds them already. */
  remainingMs(): number;
  /** Whether an optional capability was granted. */
  granted(capability: string): boolean;
}

export type Status = 'up' | 'degraded' | 'down' | 'unknown';

/** What supports a verdict. */
export interface Facts {
  /** Milliseconds the target took to answer. */
  latencyMs?: number;
  /** Facts such as `redis.role`. */
  attributes?: Record<string, string | number | bigint | boolean | undefined>;
  metrics?: { name: string; value: number; unit?: string; labels?: Record<string, string> }[];
  /** The TLS session the verdict rests on, as `startTls` or a response gave it. */
  tls?: TlsInfo;
  /** Anything else that can be JSON. */
  details?: unknown;
}

/** What a run says of its target. Made by `up`, `degraded`, `down` and `unknown`; may be returned or thrown. */
export class Outcome {
  private constructor();
  readonly status: Status;
  readonly reason?: string;
  readonly message: string;
}

/** The target answered as asked. */
export function up(message: string, facts?: Facts): Outcome;
/** It did, but `reason` (a stable `snake_case` word) wants mending soon. */
export function degraded(reason: string, message: string, facts?: Facts): Outcome;
/** It did not. */
export function down(reason: string, message: string, facts?: Facts): Outcome;
/** Nothing can be said of the target. */
export function unknown(reason: string, message: string, facts?: Facts): Outcome;

/** A run that ends without a verdict: throw what the functions below make. */
export class CheckError extends Error {
  readonly tag: string;
}
/** The config asks for what cannot be, beyond what the schema can say. */
export function invalidConfig(message: string): CheckError;
/** The plugin cannot do what is asked. */
export function unsupported(message: string): CheckError;
/** Trouble on the probing side that may be over at once; the worker tries once more if there is time. */
export function retryable(message: string): CheckError;
/** The plugin's own fault. */
export function internal(message: string): CheckError;

/** A failed network call. Not catching it is right: it ends the run as down, or as unknown when the worker refused. */
export class NetError extends Error {
  /** `refused`, `timeout`, `tls`, `access-denied`, … as in `net-types` of the interface. */
  readonly tag: string;
  /** Lapwing's word for what the target did; `undefined` when the worker refused the call or a quota is used up. */
  readonly reason?: string;
  /** The peer sent what its protocol does not allow. */
  static protocol(message: string): NetError;
}
/** A secret that was not revealed: not catching it ends the run as unknown, as the worker's refusal or trouble. */
export class SecretError extends Error {
  /** `access-denied`, `not-found` or `unavailable`. */
  readonly tag: string;
}
/** State that could not be read or kept; left alone it ends the run in the same way. */
export class StateError extends Error {
  /** `access-denied`, `too-large`, `quota-exceeded` or `unavailable`. */
  readonly tag: string;
}

export interface TlsOptions {
  /** Name to ask for and to check; the host dialled when absent. */
  serverName?: string;
  /** `false` accepts any certificate, and still reports what is wrong with it. */
  verify?: boolean;
  alpn?: string[];
  /** Name of a granted secret with a client certificate and its key in PEM. */
  clientIdentity?: string;
}
export interface TlsInfo {
  protocol: string;
  cipher: string;
  alpn?: string;
  serverName?: string;
  verified: boolean;
  verifyError?: string;
  chain: Certificate[];
}
export interface Certificate {
  subject: string;
  issuer: string;
  serial: string;
  sha256: string;
  notBeforeUnix: bigint;
  notAfterUnix: bigint;
  dnsNames: string[];
}
/** Milliseconds in each step, as the worker measured them. */
export interface Timing {
  dnsMs?: number;
  connectMs?: number;
  tlsMs?: number;
  firstByteMs?: number;
  totalMs: number;
}
export interface Peer {
  address: string;
  port: number;
}
/** Waits for no longer than this, and in any case no longer than the run has left. */
export interface Limit {
  timeoutMs?: number;
}
export interface Dial extends Limit {
  family?: 'any' | 4 | 6;
}

export interface HttpOptions extends Dial {
  headers?: Record<string, string>;
  /** Headers whose value is a granted secret, by its name: the worker fills them in, the plugin never sees them. */
  secretHeaders?: Record<string, string>;
  body?: string | Uint8Array;
  /** Sent as JSON. */
  json?: unknown;
  /** Redirects to follow; 0 by default. */
  maxRedirects?: number;
  /** Bytes of the body to read; 256 KiB by default. */
  maxBodyBytes?: number;
  tls?: TlsOptions;
}
export interface Response {
  readonly status: number;
  /** Whether the status is 200 to 299. */
  readonly ok: boolean;
  /** `HTTP/1.1`, `HTTP/2`. */
  readonly version: string;
  readonly headers: [string, string][];
  /** The whole body. One that was cut is a `NetError` (`limit`), which ends the run as unknown: ask with a larger `maxBodyBytes`. */
  readonly body: Uint8Array;
  /** As much of it as was asked for. */
  readonly part: Uint8Array;
  /** Whether there was more of it: then `body`, `text()` and `json()` throw. */
  readonly truncated: boolean;
  readonly finalUrl: string;
  readonly peer: Peer;
  readonly timing: Timing;
  readonly tls?: TlsInfo;
  header(name: string): string | undefined;
  /** The body as text. */
  text(): string;
  /** As `body`; and a body that is no JSON is a `NetError` (`protocol_error`). */
  json(): any;
}
/** Every status is a response, not an error. */
export const http: {
  get(url: string, options?: HttpOptions): Response;
  post(url: string, options?: HttpOptions): Response;
  send(method: string, url: string, options?: HttpOptions): Response;
};

export interface Connection {
  /** Handshakes, at the start or after the protocol's own STARTTLS. */
  startTls(options?: TlsOptions): TlsInfo;
  write(data: string | Uint8Array): void;
  /** Some bytes, at most `max`; none when the peer has closed. */
  read(max: number): Uint8Array;
  readExact(n: number): Uint8Array;
  /** Up to and with the delimiter. */
  readUntil(delimiter: string | Uint8Array, max: number): Uint8Array;
  /** One line without its end; at most `max` (1024) bytes. */
  readLine(max?: number): string;
  shutdownWrite(): void;
  close(): void;
  readonly peer: Peer;
  readonly timing: Timing;
}
export const tcp: { connect(host: string, port: number, options?: Dial): Connection };

export interface Socket {
  send(datagram: string | Uint8Array): void;
  /** One datagram; what is longer than `max` (1500) is cut. */
  receive(max?: number): Uint8Array;
  close(): void;
}
export const udp: { open(host: string, port: number, options?: Dial): Socket };

export interface DnsReply {
  /** 0 NOERROR, 2 SERVFAIL, 3 NXDOMAIN (RFC 1035). */
  rcode: number;
  authoritative: boolean;
  answers: { name: string; ttl: number; rtype: string; data: string }[];
  elapsedMs: number;
}
export const dns: {
  query(name: string, rtype: string, options?: Limit & { server?: { host: string; port: number } }): DnsReply;
};

/** Bytes kept for the next run of the same monitor, best effort. */
export const state: {
  get(key: string): Uint8Array | undefined;
  getText(key: string): string | undefined;
  set(key: string, value: string | Uint8Array, ttlSeconds?: number): void;
  delete(key: string): void;
};
/** Named secrets; prefer `secretHeaders`. */
export const secrets: { reveal(name: string): string };

type Line = (...parts: unknown[]) => void;
/** Up to 64 KiB a run. Never log credentials. */
export const log: { trace: Line; debug: Line; info: Line; warn: Line; error: Line };
