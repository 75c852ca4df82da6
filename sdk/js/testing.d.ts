import type { Checker, Problem, Status } from './index.js';

/** Scripts a failed network call: `http: () => fault('refused')`. Tags are those of `net-error` in the interface. */
export function fault(tag: string, text?: string): { fault: string; text: string };
type Fault = ReturnType<typeof fault>;

/** How the worker answers. A call without an answer here is refused as `access-denied`. */
export interface Script {
  http?(request: {
    method: string;
    url: string;
    headers: Record<string, string | { secret: string }>;
    body?: string;
    maxRedirects: number;
    timeoutMs: number;
  }): { status?: number; headers?: Record<string, string>; body?: string | Uint8Array; json?: unknown } | Fault;
  /** A peer: its greeting, and its answer to each write. */
  tcp?(host: string, port: number): { greeting?: string; answer?(sent: string): string | undefined; tls?(options: unknown): object | Fault } | Fault;
  /** The reply to a datagram; none when `undefined`. */
  udp?(host: string, port: number, datagram: Uint8Array): string | Uint8Array | undefined;
  /** The data of the answers, or a reply without any. */
  dns?(name: string, rtype: string): string[] | { rcode: number } | Fault;
  /** Pass the same map to several runs to see what one leaves for the next. */
  state?: Map<string, Uint8Array>;
  secrets?: Record<string, string>;
  granted?: string[];
  budgetMs?: number;
  previous?: Status;
}

/** What became of a run: a verdict, or `error` with the tag of a `check-error`. */
export interface Ended {
  status?: Status;
  reason?: string;
  error?: string;
  message: string;
  latencyMs?: number;
  attributes?: Record<string, string | number | boolean>;
  metrics?: Record<string, number>;
  details?: any;
  /** Every network call in order, its name first. */
  calls: unknown[][];
  log: string[];
}

/** One run of a kind. The config is not validated, nor are defaults filled in: that is the worker's. */
export function run(checker: Checker, kind: string, config: unknown, script?: Script): Promise<Ended>;

/** What a kind's `validate` finds wrong with a config that fits its schema. */
export function validate(checker: Checker, kind: string, config: unknown): Required<Problem>[];
