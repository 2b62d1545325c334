import type { EndReason, State } from "./lifecycle.ts";
import type { CredentialKey, Handle } from "./secret.ts";

/** What JSON can carry: what an application may keep in a session, and a journal entry in its detail. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Who may speak: a login answers requests, a feed goes one way, turns alternate, or both sides speak at once. */
export type Mode = "request-response" | "simplex" | "half-duplex" | "full-duplex";

/** One session as a store holds it. It never holds a secret, only keys derived from one. All `…At` are ms since 1970. */
export interface SessionRecord {
  readonly handle: Handle;
  /** 1 when created, +1 with every write; each write is conditional on it. */
  readonly version: number;
  readonly mechanism: string;
  readonly mode: Mode;
  readonly state: State;
  /** Who it belongs to; absent for an anonymous session. Never changes. */
  readonly principal?: string;
  /** The principal's epoch when the session was made. A lower one than the principal's means: revoked. */
  readonly epoch: number;
  /** The barrier sequence when the session was made: younger barriers apply to it. */
  readonly barrierSeq: number;
  /** The session it was opened under; it ends when that one does. Same principal as the parent, always. */
  readonly parent?: Handle;
  /** Nothing can be opened under it, so that nobody looks for what was when it ends. */
  readonly childless?: true;
  readonly createdAt: number;
  readonly touchedAt: number;
  /** Ends `idle-expired` at this instant unless touched; absent: no idle limit. */
  readonly idleAt?: number;
  /** Span of the idle limit, so that a touch can move `idleAt`. */
  readonly idleMs?: number;
  /** Ends `absolute-expired` at this instant whatever happens; absent: no absolute limit. */
  readonly absoluteAt?: number;
  /** While suspended: how long it can be resumed. */
  readonly suspendUntil?: number;
  /** For how long it may be suspended; absent: it cannot be resumed, so losing its transport or its node ends it. */
  readonly resumableMs?: number;
  readonly ended?: EndNote;
  readonly credentials: Credentials;
  readonly authentication?: Authentication;
  /** The process its live transport belongs to, with a fencing epoch that only rises. */
  readonly owner?: Owner;
  readonly checkpoint?: Checkpoint;
  readonly peer: Peer;
  readonly roles?: readonly string[];
  readonly tenant?: string;
  /** A short name a person gave it, or the mechanism: the called name, the file's name, the call's target. */
  readonly label?: string;
  /** The application's own. */
  readonly data: Json;
}

/** Something that is still being put together. Objects made so, rather than by spreading, are made faster and kept smaller. */
export type Draft<T> = { -readonly [Name in keyof T]: T[Name] };

export interface EndNote {
  readonly at: number;
  readonly reason: EndReason;
  /** Who asked for it, when it was not the peer itself. */
  readonly by?: string;
  /** The revocation it was part of; its receipt is written under this name. */
  readonly revocation?: string;
  /** When the record itself may be forgotten: until then a late use is recognised as one. */
  readonly purgeAt: number;
}

export interface Credentials {
  readonly current?: CredentialKey;
  /** When the current one was issued. */
  readonly since?: number;
  /** Offered, and becomes current with its first use. */
  readonly pending?: CredentialKey;
  /** Offered before it and good as well: the answers that carried them may be late, not lost. Newest first. */
  readonly offered?: readonly CredentialKey[];
  /** Replaced by rotation; good until its grace is over. */
  readonly previous?: { readonly key: CredentialKey; readonly until: number };
  /** No longer good, remembered so that a use is recognised as reuse. Newest first. */
  readonly retired: readonly RetiredCredential[];
}

export interface RetiredCredential {
  readonly key: CredentialKey;
  /** Until here a use is refused without alarm: requests already under way when the secret changed. */
  readonly quietUntil: number;
}

export interface Authentication {
  readonly at: number;
  /** RFC 8176 authentication method references: `pwd`, `otp`, `hwk`, … */
  readonly amr: readonly string[];
  /** NIST SP 800-63B authenticator assurance level. */
  readonly aal?: 1 | 2 | 3;
}

export interface Owner {
  readonly node: string;
  readonly epoch: number;
}

export interface Checkpoint {
  /** Order of the checkpoint; never goes backwards. A byte offset, a sync point's serial, a sequence number. */
  readonly position: number;
  readonly at: number;
  /** Where the position is heading, if known: a file's length. */
  readonly total?: number;
  readonly note?: Json;
}

export interface Peer {
  readonly address?: string;
  readonly agent?: string;
  readonly device?: string;
}

/** When a store must bring the session up for `due`: its nearest deadline, or when an ended one may be forgotten. */
export function dueAt(record: SessionRecord): number | undefined {
  if (record.ended !== undefined) return record.ended.purgeAt;
  const until = record.state === "suspended" ? record.suspendUntil : undefined;
  const due = Math.min(record.idleAt ?? Infinity, record.absoluteAt ?? Infinity, until ?? Infinity);
  return due === Infinity ? undefined : due;
}

/** Every key that must lead to this record, live or not. */
export function credentialKeys(record: SessionRecord): CredentialKey[] {
  const { current, pending, offered, previous, retired } = record.credentials;
  const keys: CredentialKey[] = [];
  if (current !== undefined) keys.push(current);
  if (pending !== undefined) keys.push(pending);
  if (offered !== undefined) keys.push(...offered);
  if (previous !== undefined) keys.push(previous.key);
  for (const one of retired) keys.push(one.key);
  return keys;
}

/**
 * The lists a record is in. Stores keep one ordered set of handles for each term:
 * `live` or `ended`; while live also `p:principal`, `c:parent`, `n:owner node`, `m:mechanism`; once ended `e:principal`.
 */
export function indexTerms(record: SessionRecord): string[] {
  if (record.state === "ended") {
    return record.principal === undefined ? ["ended"] : ["ended", `e:${record.principal}`];
  }
  const terms = ["live", `m:${record.mechanism}`];
  if (record.principal !== undefined) terms.push(`p:${record.principal}`);
  if (record.parent !== undefined) terms.push(`c:${record.parent}`);
  if (record.owner !== undefined) terms.push(`n:${record.owner.node}`);
  return terms;
}

/** Whether both are in the same lists, without making those up: most writes change none. */
export function sameTerms(a: SessionRecord, b: SessionRecord): boolean {
  return (
    (a.state === "ended") === (b.state === "ended") &&
    a.owner?.node === b.owner?.node &&
    a.principal === b.principal &&
    a.parent === b.parent &&
    a.mechanism === b.mechanism
  );
}
