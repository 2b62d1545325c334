/** The kernel's own limits and spans, all in milliseconds. Mechanisms and presets choose theirs per session. */
export interface KernelPolicy {
  /** After a plain rotation the old secret is good for this long. */
  readonly graceMs: number;
  /** After a change of privilege, or the first use of an offered secret, the old one is refused, and for this long not taken for theft. */
  readonly quietMs: number;
  /** Secrets remembered after they were replaced, so that reuse is recognised. */
  readonly retiredKept: number;
  /**
   * How long an ended session is remembered, so that late use is refused as such and journalled. Each session keeps the
   * instant that was right when it ended.
   */
  readonly retainEndedMs: number;
  /** A read moves the idle deadline at most once in max(`touchMs`, idle limit / 20). */
  readonly touchMs: number;
  /** A node that has not renewed its lease for this long is taken for dead. */
  readonly leaseMs: number;
  /** How often deadlines are swept. They are enforced on reading as well. */
  readonly sweepMs: number;
  /** How long a revocation waits for live transports to be reported closed before its receipt says failed. */
  readonly receiptMs: number;
  /** Conflicting writes are replayed this often before `session-conflict`. */
  readonly replays: number;
  /** Largest `data` of one session, in bytes of JSON. */
  readonly dataBytes: number;
  /** An operator's limits by mechanism: what a mechanism asks for its sessions is cut down to them. */
  readonly mechanisms: Readonly<Record<string, MechanismPolicy>>;
}

/** Left out: as the mechanism wants it. */
export interface MechanismPolicy {
  readonly idleMs?: number;
  readonly absoluteMs?: number;
  readonly resumableMs?: number;
  /** Shorter or longer than the kernel's: relays that come by the thousand need not be remembered as long as logins. */
  readonly retainEndedMs?: number;
  /** Live sessions of this mechanism that one principal may have. */
  readonly perPrincipal?: number;
  /** The same for single principals; 0 takes none at all. */
  readonly principals?: Readonly<Record<string, number>>;
  /** What gives way at `perPrincipal`: the newcomer, unless said otherwise. */
  readonly onLimit?: "refuse" | "evict-oldest";
}

export const defaultPolicy: KernelPolicy = {
  graceMs: 10_000,
  quietMs: 10_000,
  retiredKept: 8,
  retainEndedMs: 24 * 60 * 60 * 1000,
  touchMs: 60_000,
  leaseMs: 5_000,
  sweepMs: 1_000,
  receiptMs: 5_000,
  replays: 50,
  dataBytes: 256 * 1024,
  mechanisms: {},
};
