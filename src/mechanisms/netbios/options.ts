import type { Kernel } from "../../kernel/index.ts";
import type { LengthBits } from "./codec/session.ts";
import type { KeepaliveRule } from "./machine/flow.ts";
import { DEFAULT_KEEPALIVE } from "./machine/flow.ts";
import type { RouteOptions } from "./routes.ts";

/** All of it but the kernel and `onFault` is plain data, so that a configuration file can say it. */
export interface NetbiosOptions extends RouteOptions {
  readonly kernel: Kernel;
  readonly limits?: Partial<NetbiosLimits>;
  /** `false`: none are sent. Every 60 s of silence by default. */
  readonly keepalive?: KeepaliveRule | false;
  /** 24 by default; 17 is RFC 1002 to the letter, for which backends must be kept from large reads and writes. */
  readonly lengthBits?: LengthBits;
  /**
   * Whom a session belongs to: who the caller says it is (the default), the address it comes from, or nobody. None of
   * them is authenticated: SMB logs in later, within the session.
   */
  readonly principal?: "calling-name" | "address" | "none";
  /** The byte counts in the store are at most so old while they change; 1 s by default. */
  readonly countsEveryMs?: number;
  /** Hears of faults in the background. They are retried where that helps. */
  readonly onFault?: (error: unknown) => void;
}

export interface NetbiosLimits {
  /** Connections at once, those that have not yet said whom they call included. More are closed as they come. */
  readonly connections: number;
  /** Sessions at once from one address. */
  readonly perPeer: number;
  /** Sessions at once of one principal, over all nodes. */
  readonly perPrincipal: number;
  /** Connections from one address that have not yet said whom they call. */
  readonly handshakesPerPeer: number;
  /** From the connection to the session request. */
  readonly handshakeMs: number;
  /** From the session request to an answer from the backend. */
  readonly connectMs: number;
  /** Without a byte in either direction, keepalives not counted; `Infinity`: no limit. */
  readonly idleMs: number;
  readonly absoluteMs: number;
  /** Both directions together. */
  readonly maxBytes: number;
  /** Refused calls of one address are journalled at most once in this span. */
  readonly probesMs: number;
}

const DEFAULT_LIMITS: NetbiosLimits = {
  connections: 20_000,
  perPeer: 256,
  perPrincipal: 256,
  handshakesPerPeer: 64,
  handshakeMs: 10_000,
  connectMs: 10_000,
  idleMs: Infinity,
  absoluteMs: Infinity,
  maxBytes: Infinity,
  probesMs: 10_000,
};

export interface Settings {
  readonly kernel: Kernel;
  readonly onFault: (error: unknown) => void;
  readonly limits: NetbiosLimits;
  readonly keepalive: KeepaliveRule | undefined;
  readonly bits: LengthBits;
  readonly principal: "calling-name" | "address" | "none";
  readonly countsEveryMs: number;
}

export function settingsOf(options: NetbiosOptions): Settings {
  return {
    kernel: options.kernel,
    onFault: options.onFault ?? (() => {}),
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    keepalive: options.keepalive === false ? undefined : (options.keepalive ?? DEFAULT_KEEPALIVE),
    bits: options.lengthBits ?? 24,
    countsEveryMs: options.countsEveryMs ?? 1_000,
    principal: options.principal ?? "calling-name",
  };
}
