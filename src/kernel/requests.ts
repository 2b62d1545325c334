import type { Clock } from "./clock.ts";
import type { Refusal } from "./judge.ts";
import type { EndReason } from "./lifecycle.ts";
import type { KernelPolicy } from "./policy.ts";
import type { Checkpoint, Json, SessionRecord } from "./record.ts";
import type { CredentialKey, Secret } from "./secret.ts";
import type { SessionStore } from "./store.ts";

export interface KernelOptions {
  readonly store: SessionStore;
  readonly clock?: Clock;
  /** This process's name in records and receipts; must be unique among live processes. Made up when left out. */
  readonly node?: string;
  /** What this node says of itself in the list of nodes. */
  readonly about?: { readonly [key: string]: string | number };
  readonly policy?: Partial<KernelPolicy>;
  /** Hears of faults in the background (feed, lease, sweep). They are retried; nothing is lost by not listening. */
  readonly onFault?: (error: unknown) => void;
}

export interface Established {
  readonly record: SessionRecord;
  /** Absent when the request asked for no credential. */
  readonly secret?: Secret;
}

/** What somebody who shows a secret gets. */
export type Presentation =
  | { readonly good: true; readonly record: SessionRecord; readonly slot: "current" | "pending" | "previous" }
  | { readonly good: false; readonly why: Refusal; readonly record?: SessionRecord };

export interface EndOptions {
  readonly reason: EndReason;
  readonly by?: string;
  readonly revocation?: string;
  /** Where it stood in the end, in the same write; one behind the record's own is passed over. Not its children's. */
  readonly checkpoint?: Omit<Checkpoint, "at">;
  readonly detail?: { readonly [key: string]: Json };
}

export interface WriteOptions {
  /** The ownership the caller believes to have: a write is refused `session-fenced` once another took it. */
  readonly fence?: SessionRecord["owner"];
  readonly by?: string;
  readonly detail?: { readonly [key: string]: Json };
}

export interface ConfirmOptions extends WriteOptions {
  /** Which offer was seen; the newest unless given. */
  readonly key?: CredentialKey;
}

/** What a mechanism may change of a session besides its data. `undefined` takes a member away. */
export type Amendment = {
  readonly [Name in "label" | "peer" | "roles" | "tenant" | "resumableMs"]?: SessionRecord[Name] | undefined;
};

/** What a journal entry may say besides the session and the event. */
export interface EntryDetails {
  readonly at?: number;
  readonly by?: string;
  readonly detail?: { readonly [key: string]: Json };
}
