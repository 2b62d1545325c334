import type { Barrier } from "./barrier.ts";
import { holdsBack } from "./barrier.ts";
import type { EndReason } from "./lifecycle.ts";
import { slotOf } from "./credentials.ts";
import type { SessionRecord } from "./record.ts";
import type { CredentialKey } from "./secret.ts";
import type { Found } from "./store.ts";

/** Why a session is absent to whoever presents it. */
export type Refusal = "unknown" | "ended" | "expired" | "revoked" | "locked" | "retired" | "reused";

export type Verdict =
  | { readonly good: true; readonly slot: "current" | "pending" | "previous" }
  | { readonly good: false; readonly why: Refusal };

/**
 * Whether a found record may be used at `now`. Limits and revocation are decided here, on every read, and never depend
 * on a sweep having run or an index being whole.
 */
export function judge(found: Found, key: CredentialKey, now: number, barriers: readonly Barrier[]): Verdict {
  const slot = slotOf(found.record.credentials, key, now);
  if (slot === "none") return refused("unknown");
  const standing = judgeStanding(found, now, barriers);
  // A secret used after its time is theft whatever else holds, but an ended session has nothing left to protect.
  if (standing !== undefined) return refused(standing);
  return slot === "reused" || slot === "retired" ? refused(slot) : { good: true, slot };
}

/** As `judge`, for a record that was reached by its handle. */
export function judgeStanding(found: Found, now: number, barriers: readonly Barrier[]): Refusal | undefined {
  const { record } = found;
  if (record.state === "ended") return "ended";
  if (record.epoch < found.epoch) return "revoked";
  for (const barrier of barriers) {
    if (holdsBack(barrier, record, now)) return barrier.kind === "lock" ? "locked" : "revoked";
  }
  return expiryOf(record, now) === undefined ? undefined : "expired";
}

/**
 * The instant before which the record's current secret opens it, barriers aside; -Infinity when it opens nothing. A cache
 * keeps this number beside a record, so that using it takes a comparison instead of a look at all its members.
 */
export function usableUntil({ record, epoch }: Found): number {
  if (record.state === "ended" || record.state === "suspended" || record.epoch < epoch) return -Infinity;
  return Math.min(record.idleAt ?? Infinity, record.absoluteAt ?? Infinity);
}

/** The reason with which `record` ends at `now` by itself, if it does. */
export function expiryOf(record: SessionRecord, now: number): EndReason | undefined {
  if (record.state === "ended") return undefined;
  if (record.absoluteAt !== undefined && now >= record.absoluteAt) return "absolute-expired";
  if (record.idleAt !== undefined && now >= record.idleAt) return "idle-expired";
  if (record.state === "suspended" && record.suspendUntil !== undefined && now >= record.suspendUntil)
    return "timeout";
  return undefined;
}

function refused(why: Refusal): Verdict {
  return { good: false, why };
}
