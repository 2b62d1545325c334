import type { Selector } from "./selector.ts";
import { matches } from "./selector.ts";
import type { SessionRecord } from "./record.ts";

/**
 * What stands between a selector and its sessions. A `revocation` refuses those older than itself (it outlives its own
 * pass over the index only to catch creates that raced with it); a `lock` refuses old and new ones until it is lifted.
 */
export interface Barrier {
  readonly id: string;
  /** Its place in the order of all barriers; a record knows the highest one that stood when it was made. */
  readonly seq: number;
  readonly kind: "revocation" | "lock";
  readonly selector: Selector;
  readonly reason: string;
  readonly by?: string;
  readonly at: number;
  /** When it stops to count; absent: until lifted. */
  readonly until?: number;
}

export type BarrierDraft = Omit<Barrier, "seq">;

/** True when `barrier` keeps `record` from being used at `now`. */
export function holdsBack(barrier: Barrier, record: SessionRecord, now: number): boolean {
  if (barrier.until !== undefined && barrier.until <= now) return false;
  if (barrier.kind === "revocation" && record.barrierSeq >= barrier.seq) return false;
  return matches(barrier.selector, record);
}
