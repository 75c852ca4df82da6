import type { Checker, Problem, Status } from './index.js';

/** Scripts a failed network call: `http: () => fault('refused')`. Tags are those of `net-error` in the interface. */
export function fault(tag: string, text?: string): { fault: string; text: string };
type Fault = ReturnType<typeof fault>;

/**
 * How the worker answers. A call without an answer here is refused as `access-denied`; an answer of another shape than these
 * is the test's fault, and `run` throws it. `tookMs` is what the worker will have measured (1 by default, without any waiting):
 * it is taken from the run's time, and a call fails as timed out when it may not take so long.
 */
export interface Script {
  http?(request: {
    method: string;
    url: string;
    headers: Record<string, string | { secret: string }>;
    body?: string;
    maxRedirects: number;
    timeoutMs: number;
  }): { status?: number; headers?: Record<string, string>; body?: string | Uint8Array; json?: unknown; tookMs?: number } | Fault;
  /** A peer: its greeting, and its answer to each write. */
  tcp?(host: string, port: number): {
    greeting?: string | Uint8Array;
    answer?(sent: string): string | Uint8Array | Fault | undefined;
    tls?(options: unknown): object | Fault;
    tookMs?: number;
  } | Fault;
  /** The reply to a datagram; none when `undefined`. */
  udp?(host: string, port: number, datagram: Uint8Array): string | Uint8Array | undefined;
  /** The data of the answers, or a reply without any. */
  dns?(name: string, rtype: string): string[] | { rcode?: number; data?: string[]; tookMs?: number } | Fault;
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

/** One run of a kind. The schema's defaults are filled in as the worker does it; the config is not validated. */
export function run(checker: Checker, kind: string, config: unknown, script?: Script): Promise<Ended>;

/** What a kind's `validate` finds wrong with a config that fits its schema. */
export function validate(checker: Checker, kind: string, config: unknown): Required<Problem>[];
