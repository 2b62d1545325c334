/**
 * What the gateway hands to the console, and what it gets back. The gateway owns the HTTP server: it has answered
 * `/healthz`, `/readyz` and `/metrics` already when a request comes to `handle`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";

import type { Revocations } from "../governance/index.ts";
import type { Kernel } from "../kernel/index.ts";
import type { TlsFigures } from "./contract.ts";

export interface ConsoleParts {
  /** Started; the console neither starts nor closes it. Its own sign-ins are `web` sessions of this kernel. */
  readonly kernel: Kernel;
  /** Revokes and locks through this are remembered with their receipts; so are those that other nodes asked for. */
  readonly revocations: Revocations;
  readonly listeners: () => readonly ListenerView[];
  /** Holdfast's version. */
  readonly version: string;
  /** `http://127.0.0.1:7070`: where the page is reached, without a slash at the end; for links and cross-site checks. */
  readonly origin: string;
  /** True over TLS: only then can a cookie be `Secure`, except on the loopback, which browsers trust as well. */
  readonly secure: boolean;
  /** How many times something was refused since the start, by reason: `locked`, `limit-reached`, `expired`, `reused`, … */
  readonly refusals: () => Readonly<Record<string, number>>;
  /** What the node's own TLS ports have done; undefined when there are none. */
  readonly tls: () => TlsFigures | undefined;
  readonly log: ConsoleLog;
}

/** One running listener, as the health screen shows it. */
export interface ListenerView {
  readonly name: string;
  readonly mechanism: string;
  /** `socks5://127.0.0.1:1080`, `tcp://0.0.0.0:139`, …: where it listens. */
  readonly address: string;
  /** Connections, or requests under way. */
  readonly open: number;
  readonly draining: boolean;
}

/** pino's calling convention. */
export interface ConsoleLog {
  info(about: object, message: string): void;
  warn(about: object, message: string): void;
  error(about: object, message: string): void;
}

export interface Console {
  /** Answers every request that reaches it, 404 included. Never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): void | Promise<void>;
  /** A link that signs one browser in, once, as an operator. Good for a short time. */
  signInLink(): Promise<string>;
  /** Ends open feeds, so that the HTTP server can close. */
  close(): Promise<void>;
}

/** The signature of `createConsole` in `src/console/index.ts`. */
export type CreateConsole = (parts: ConsoleParts) => Console | Promise<Console>;
