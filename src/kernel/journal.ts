import type { Phase, SessionEvent } from "./lifecycle.ts";
import type { Json } from "./record.ts";
import type { Handle } from "./secret.ts";

/** Events that concern no single session: a principal's epoch, a barrier, a node. */
export type GovernanceEvent = "epoch" | "barrier" | "barrier-lifted" | "node" | "note";

/** One change, as written in the same transaction as the record it changed. */
export interface JournalDraft {
  /** Absent for what concerns no single session. */
  readonly handle?: Handle;
  /** The record's version after the change; absent when the record was not written. */
  readonly version?: number;
  readonly at: number;
  readonly phase: Phase | "governance";
  readonly event: SessionEvent | GovernanceEvent;
  readonly mechanism?: string;
  readonly principal?: string;
  readonly node?: string;
  /** Who asked for it: an operator, the principal, a peer. */
  readonly by?: string;
  readonly detail?: { readonly [key: string]: Json };
}

/** A draft with its place in the journal. Cursors are opaque; `changes(cursor)` goes on after it. */
export interface JournalEntry extends JournalDraft {
  readonly cursor: string;
}

/** What a follower of the journal is told. */
export type Change =
  /** All that was committed before the call has been delivered; from here on, entries arrive as they happen. */
  | { readonly type: "live"; readonly cursor: string }
  | { readonly type: "entries"; readonly entries: readonly JournalEntry[]; readonly cursor: string }
  /** What lay between was trimmed: whatever was derived from the journal must be thrown away. */
  | { readonly type: "gap"; readonly cursor: string };
