/** Why a handshake was a full one. */
export type FullReason =
  /** The client had nothing to resume. */
  | "not-offered"
  /** None of the keys that are accepted: another cluster, secret or trust domain, or lost. */
  | "unknown-key"
  /** Of this cluster, from an epoch that is no longer accepted. */
  | "old-key"
  /** The right key, and not what was made with it. */
  | "tampered"
  /** A session ID that the store does not hold, or not any more. */
  | "unknown-id"
  /** The session began too long ago. */
  | "expired"
  /** A single-use ticket that was used. */
  | "replayed"
  /** A good ticket of a session that the store has never heard of. */
  | "unknown-session"
  /** The session was ended, but not by a revocation. */
  | "ended"
  /** The session was revoked, or is locked. */
  | "revoked"
  /** The client's certificate has expired, was revoked, is of an authority no longer in force, or was none. */
  | "client-certificate"
  /** Stateful TLS 1.3, and the client has left out the legacy session ID that Node needs. */
  | "no-legacy-id"
  /** The first message was too large, too slow, or none. */
  | "unreadable-hello"
  | "store-unavailable"
  /** The notes of used tickets are full, so that a replay could not be told. */
  | "cache-full"
  /** We would have, but OpenSSL would not: other cipher or version, its own time limit, a HelloRetryRequest. */
  | "declined";

export type TlsVersion = "TLSv1.2" | "TLSv1.3" | "other";

/** Counted since the mechanism was made, but for `connections` and `cache.entries` and `.bytes`, which are now. */
export interface TlsMetrics {
  readonly full: Readonly<Record<TlsVersion, number>>;
  readonly resumed: Readonly<Record<TlsVersion, number>>;
  readonly resumedBy: Readonly<Record<"ticket" | "id", number>>;
  readonly fullBecause: Readonly<Partial<Record<FullReason, number>>>;
  /** Of those who could have been resumed: resumed / (resumed + full but for `not-offered`). 1 when there was none. */
  readonly resumptionRate: number;
  /** `unusable` were made with a key that nobody keeps, because it could not be told for whom they were. */
  readonly tickets: Readonly<Record<"issued" | "unusable", number>>;
  /** Tickets of another epoch than ours: `ahead` shows clocks that differ. */
  readonly epochs: Readonly<Record<"current" | "behind" | "ahead", number>>;
  /** Connections closed because Node resumed them and we had not allowed it. */
  readonly unapproved: number;
  /** Connections closed because the kernel refused their session: a lock, a limit. */
  readonly refused: number;
  readonly connections: number;
  readonly cache: Readonly<Record<"entries" | "bytes" | "stored" | "evicted", number>>;
  /** Milliseconds that the slowest and all look-ups together have held up handshakes. */
  readonly waits: { readonly count: number; readonly totalMs: number; readonly worstMs: number };
}

export class Counters {
  readonly full: Record<TlsVersion, number> = { "TLSv1.2": 0, "TLSv1.3": 0, other: 0 };
  readonly resumed: Record<TlsVersion, number> = { "TLSv1.2": 0, "TLSv1.3": 0, other: 0 };
  readonly resumedBy: Record<"ticket" | "id", number> = { ticket: 0, id: 0 };
  readonly fullBecause: Partial<Record<FullReason, number>> = {};
  readonly tickets: Record<"issued" | "unusable", number> = { issued: 0, unusable: 0 };
  readonly epochs: Record<"current" | "behind" | "ahead", number> = { current: 0, behind: 0, ahead: 0 };
  readonly waits: { count: number; totalMs: number; worstMs: number } = { count: 0, totalMs: 0, worstMs: 0 };
  unapproved = 0;
  refused = 0;

  countFull(version: TlsVersion, reason: FullReason): void {
    this.full[version]++;
    this.fullBecause[reason] = (this.fullBecause[reason] ?? 0) + 1;
  }

  countResumed(version: TlsVersion, by: "ticket" | "id"): void {
    this.resumed[version]++;
    this.resumedBy[by]++;
  }

  countEpoch(skew: number): void {
    this.epochs[skew === 0 ? "current" : skew < 0 ? "behind" : "ahead"]++;
  }

  countWait(ms: number): void {
    this.waits.count++;
    this.waits.totalMs += ms;
    this.waits.worstMs = Math.max(this.waits.worstMs, ms);
  }

  snapshot(now: Pick<TlsMetrics, "connections" | "cache">): TlsMetrics {
    const resumed = sum(this.resumed);
    const could = resumed + sum(this.full) - (this.fullBecause["not-offered"] ?? 0);
    return {
      full: { ...this.full },
      resumed: { ...this.resumed },
      resumedBy: { ...this.resumedBy },
      fullBecause: { ...this.fullBecause },
      resumptionRate: could === 0 ? 1 : resumed / could,
      tickets: { ...this.tickets },
      epochs: { ...this.epochs },
      unapproved: this.unapproved,
      refused: this.refused,
      waits: { ...this.waits },
      ...now,
    };
  }
}

export function versionOf(protocol: string | null): TlsVersion {
  return protocol === "TLSv1.2" || protocol === "TLSv1.3" ? protocol : "other";
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
