import type { Kernel, MaybePromise, PrincipalLimit } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import type { RelayRequest } from "../../transport/relay-session.ts";
import type { Credentials, MachineOptions } from "./machine.ts";
import type { ProxyLike } from "./proxy.ts";
import { parseProxy } from "./proxy.ts";
import type { Question, Rule } from "./rules.ts";
import { Rules } from "./rules.ts";
import type { User } from "./users.ts";
import { Users } from "./users.ts";

export interface SocksOptions {
  readonly kernel: Kernel;
  /** Who may come, with hashed passwords (`hashPassword`). */
  readonly users?: readonly User[];
  /**
   * Decides who may come, instead of `users`. Gets SOCKS4 user IDs too, which prove nothing. Returns who it is, or
   * `undefined` for nobody we know.
   */
  readonly authenticate?: (
    credentials: Exclude<Credentials, { method: "none" }>,
    client: { readonly address: string },
  ) => MaybePromise<Identity | undefined>;
  /** Whether clients without a password may come; true unless `users` or `authenticate` is given. */
  readonly anonymous?: boolean;
  /** Who may go where; everybody to public addresses unless given. See `Rule`. */
  readonly rules?: readonly Rule[];
  /** 4 (with 4a) and 5 unless given. */
  readonly versions?: readonly (4 | 5)[];
  readonly limits?: Partial<SocksLimits>;
  /** How many sessions one principal may have on all nodes together, and what gives way; none. */
  readonly principalLimit?: PrincipalLimit;
  /** A proxy, or a chain of them, through which CONNECT and BIND go; or who goes through which. */
  readonly upstream?: ProxyLike | readonly ProxyLike[] | ((question: Question) => Upstream);
  /**
   * Names go to the upstream proxy as they are. Rules then cannot look at addresses: those that name some are passed
   * over. Unless set, names are resolved and checked here, and the upstream proxy gets an address.
   */
  readonly upstreamResolves?: boolean;
  /** The local address for BIND's and UDP's ports towards destinations; the one the system would use unless given. */
  readonly outerHost?: string;
  /** A name to its addresses, best first; empty when there is none. The system's resolver unless given. */
  readonly resolve?: (name: string) => Promise<readonly string[]>;
  /** How often byte counts of live sessions are written, in ms; 1,000 unless given. */
  readonly countsEveryMs?: number;
  /** Hears of faults that no client can be told of: the store, a listener. */
  readonly onFault?: (error: unknown) => void;
}

export type Upstream = ProxyLike | readonly ProxyLike[] | undefined;

export interface Identity {
  readonly principal: string;
  readonly roles?: readonly string[];
  readonly tenant?: string;
}

/** All spans in ms. `Infinity` takes a limit away. */
export interface SocksLimits {
  /** From the first byte until the request is complete; 15 s. */
  readonly handshakeMs: number;
  /** For reaching the destination; 30 s. */
  readonly connectMs: number;
  /** For a BIND's peer to come; 2 min. */
  readonly bindMs: number;
  /** Without a byte in either direction; 30 min. */
  readonly idleMs: number;
  /** However busy; none. */
  readonly absoluteMs: number;
  /** Passed on, both directions together; none. */
  readonly maxBytes: number;
  /** Client connections in all, handshakes included; 20,000. More are closed as they come. */
  readonly connections: number;
  /** Relays of one principal in this process; none. More are refused. */
  readonly connectionsPerPrincipal: number;
}

/** The options with everything filled in and checked. */
export interface Settings {
  readonly kernel: Kernel;
  readonly users: Users | undefined;
  readonly authenticate: SocksOptions["authenticate"];
  readonly anonymous: boolean;
  /** The same for every connection, and so made once. */
  readonly machine: MachineOptions;
  /** What every session is limited to. */
  readonly session: Pick<RelayRequest, "idleMs" | "absoluteMs" | "limit">;
  readonly rules: Rules;
  readonly limits: SocksLimits;
  readonly upstreamFor: (question: Question) => Upstream;
  readonly upstreamResolves: boolean;
  readonly outerHost: string | undefined;
  readonly resolve: SocksOptions["resolve"];
  readonly countsEveryMs: number;
  readonly onFault: (error: unknown) => void;
}

/** @throws HoldfastError `invalid-argument`. */
export function settle(options: SocksOptions): Settings {
  const { upstream, users, authenticate } = options;
  const closed = users !== undefined || authenticate !== undefined;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  for (const [name, value] of Object.entries(limits)) {
    if (typeof value === "number" && value > 0) continue;
    const message = `The limit ${name} is a number above 0, or Infinity for none.`;
    throw new HoldfastError("invalid-argument", message, { detail: { [name]: value } });
  }
  if (typeof upstream !== "function") assertProxies(upstream);
  const anonymous = options.anonymous ?? !closed;
  const countsEveryMs = options.countsEveryMs ?? 1_000;
  return {
    kernel: options.kernel,
    machine: { ...limits, anonymous, passwords: closed, versions: options.versions ?? [4, 5] },
    session: {
      // The relay enforces both; the record's idle limit is for when this process no longer can.
      ...(limits.idleMs !== Infinity && { idleMs: limits.idleMs + 5 * countsEveryMs }),
      ...(limits.absoluteMs !== Infinity && { absoluteMs: limits.absoluteMs }),
      ...(options.principalLimit !== undefined && { limit: options.principalLimit }),
    },
    users: users === undefined ? undefined : new Users(users),
    authenticate,
    anonymous,
    rules: new Rules(options.rules),
    limits,
    upstreamFor: typeof upstream === "function" ? upstream : () => upstream,
    upstreamResolves: options.upstreamResolves ?? false,
    outerHost: options.outerHost,
    resolve: options.resolve,
    countsEveryMs,
    onFault: options.onFault ?? (() => {}),
  };
}

function assertProxies(upstream: Upstream): void {
  if (upstream === undefined) return;
  const list: readonly ProxyLike[] =
    typeof upstream === "object" && Symbol.iterator in upstream ? upstream : [upstream];
  for (const proxy of list) parseProxy(proxy);
}

const DEFAULT_LIMITS: SocksLimits = {
  handshakeMs: 15_000,
  connectMs: 30_000,
  bindMs: 120_000,
  idleMs: 30 * 60_000,
  absoluteMs: Infinity,
  maxBytes: Infinity,
  connections: 20_000,
  connectionsPerPrincipal: Infinity,
};
