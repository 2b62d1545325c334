import { createHash } from "node:crypto";

import type { SessionRecord } from "../../kernel/record.ts";
import { dueAt } from "../../kernel/record.ts";
import type { Handle } from "../../kernel/secret.ts";

/**
 * What the folder holds: one LMDB environment with these databases. Keys are ordered text, so that any LMDB tool shows
 * them, and values are the text of the record codec unless said otherwise.
 *
 * | database     | key                                 | value                                    |
 * |--------------|-------------------------------------|------------------------------------------|
 * | records      | handle                              | record; its version is LMDB's entry version |
 * | keys         | credential key                      | handle                                   |
 * | terms        | index term, DEL, handle             | (empty)                                  |
 * | due          | deadline, 16 digits, then handle    | (empty)                                  |
 * | journal      | sequence number                     | entry                                    |
 * | timelines    | handle, sequence number, 16 digits  | entry                                    |
 * | epochs       | principal                           | number                                   |
 * | barriers     | id                                  | barrier, JSON                            |
 * | tickets      | key                                 | bytes: expiry (float64), then the value  |
 * | ticketExpiry | expiry, 16 digits, then the key     | (empty)                                  |
 * | nodes        | id                                  | lease, JSON                              |
 * | meta         | see `META`                          | text                                     |
 */
export const DATABASES = [
  "records",
  "keys",
  "terms",
  "due",
  "journal",
  "timelines",
  "epochs",
  "barriers",
  "tickets",
  "ticketExpiry",
  "nodes",
  "meta",
] as const;

export type DatabaseName = (typeof DATABASES)[number];

export const META = {
  /** Layout version; a folder of another one is refused. */
  format: "format",
  /** Random, part of every cursor: a cursor into another folder's journal is a gap, not a place. */
  journalId: "journal-id",
  /** Sequence number of the newest entry. */
  journalHead: "journal-head",
  /** Sequence number of the newest entry that was trimmed away. */
  journalTail: "journal-tail",
  barrierSeq: "barrier-seq",
} as const;

export const FORMAT = "1";

/**
 * Text from outside as (part of) a key: as it is when it is short and printable, else its hash behind `#`, which nothing
 * kept as it is begins with. So every text has a key, none is too long for LMDB, and DEL is free as a separator.
 */
export function keyText(text: string): string {
  if (text.length <= 200 && PRINTABLE.test(text)) return text;
  return `#${createHash("sha256").update(text, "utf8").digest("base64url")}`;
}

/** False for what no record of ours can be stored under: it is absent without a look-up. */
export function isLookupKey(text: string): boolean {
  return LOOKUP_KEY.test(text);
}

export function termPrefix(term: string): string {
  return `${keyText(term)}\u007f`;
}

export function handleOfTermKey(key: string): Handle {
  return key.slice(key.indexOf("\u007f") + 1) as Handle;
}

export function dueKey(record: SessionRecord): string | undefined {
  const due = dueAt(record);
  return due === undefined ? undefined : sixteen(due) + record.handle;
}

/** Everything due at or before `now` lies below this key. */
export function dueLimit(now: number): string {
  return `${sixteen(now)}\u007f`;
}

export function handleOfDueKey(key: string): Handle {
  return key.slice(16) as Handle;
}

export function timelineKey(handle: Handle, seq: number): string {
  return `${handle}\u007f${sixteen(seq)}`;
}

export function seqOfTimelineKey(key: string): number {
  return Number(key.slice(-16));
}

export function expiryKey(expiresAt: number, ticket: string): string {
  return sixteen(expiresAt) + ticket;
}

/** Sixteen digits hold every instant and every sequence number, and sort as numbers do. */
export function sixteen(value: number): string {
  const whole = Math.min(Math.max(Math.ceil(value), 0), Number.MAX_SAFE_INTEGER);
  return String(whole).padStart(16, "0");
}

export function encodeCursor(journalId: string, seq: number): string {
  return `${journalId}-${seq}`;
}

/** The sequence number `cursor` stands for in this journal; `undefined` when it is none of ours. */
export function decodeCursor(journalId: string, cursor: string): number | undefined {
  if (!cursor.startsWith(`${journalId}-`)) return undefined;
  const digits = cursor.slice(journalId.length + 1);
  return /^\d{1,15}$/.test(digits) ? Number(digits) : undefined;
}

const PRINTABLE = /^[\x20-\x22\x24-\x7e][\x20-\x7e]*$/;
const LOOKUP_KEY = /^[\x21-\x7e]{1,100}$/;
