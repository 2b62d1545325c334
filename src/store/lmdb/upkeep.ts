import type { Clock } from "../../kernel/clock.ts";
import { decodeEntry } from "../../kernel/record-codec.ts";
import type { Handle } from "../../kernel/secret.ts";
import type { Databases } from "./environment.ts";
import { storedBarriers, barrierKey } from "./governance-writes.ts";
import { readNumber } from "./journal-writer.ts";
import { META, sixteen } from "./layout.ts";

export interface Retention {
  readonly clock: Clock;
  /** Entries kept for followers. */
  readonly journalLimit: number;
  /** Entries older than this are dropped, by their own `at`. */
  readonly journalMaxAgeMs: number;
}

/**
 * Goes along with writes, in their transaction: where nobody writes, nothing grows. Each step does a bounded amount of
 * work, more than one batch can add, so that it keeps up.
 */
export function upkeep(db: Databases, retention: Retention): () => void {
  let nextSweep = -Infinity;
  let ageTrimming = false;
  return () => {
    const now = retention.clock.now();
    const head = readNumber(db, META.journalHead);
    const tail = readNumber(db, META.journalTail);
    const surplus = head - tail - retention.journalLimit;
    if (surplus > 0 || ageTrimming) {
      const last = trim(db, tail, head, surplus, now - retention.journalMaxAgeMs);
      ageTrimming = last === CHUNK;
    }
    if (now < nextSweep) return;
    nextSweep = now + SWEEP_MS;
    ageTrimming = true;
    dropExpiredTickets(db, now);
    dropPastBarriers(db, now);
  };
}

/** Entries, tickets a step drops at most. */
const CHUNK = 2000;
const SWEEP_MS = 1000;
/** A session's newest entries that its timeline keeps at least. */
const TIMELINE = 1000;

/** Drops the oldest entries: `surplus` of them, and all from before `before`. Answers how many, up to a chunk. */
function trim(db: Databases, tail: number, head: number, surplus: number, before: number): number {
  const handles = new Set<Handle>();
  let seq = tail;
  const limit = Math.min(CHUNK, head - tail);
  const oldest = [...db.journal.getRange({ start: tail + 1, limit })];
  for (const { key, value } of oldest) {
    const entry = decodeEntry(value);
    if (key > tail + surplus && entry.at >= before) break;
    db.journal.removeSync(key);
    if (entry.handle !== undefined) handles.add(entry.handle);
    seq = key;
  }
  if (seq > tail) db.meta.putSync(META.journalTail, String(seq));
  for (const handle of handles) shorten(db, handle);
  return seq - tail;
}

/** A timeline goes with its record; one that outgrows the journal is cut. */
function shorten(db: Databases, handle: Handle): void {
  const range = { start: `${handle}\u007f`, end: `${handle}\u0080` };
  const surplus = db.timelines.getKeysCount({ ...range, limit: TIMELINE + CHUNK }) - TIMELINE;
  if (surplus <= 0) return;
  const oldest = [...db.timelines.getKeys({ ...range, limit: surplus })];
  for (const key of oldest) db.timelines.removeSync(key);
}

function dropExpiredTickets(db: Databases, now: number): void {
  const expired = [...db.ticketExpiry.getKeys({ end: `${sixteen(now)}\u007f`, limit: CHUNK })];
  for (const key of expired) {
    db.ticketExpiry.removeSync(key);
    db.tickets.removeSync(key.slice(16));
  }
}

function dropPastBarriers(db: Databases, now: number): void {
  for (const barrier of storedBarriers(db)) {
    if (barrier.until !== undefined && barrier.until <= now) db.barriers.removeSync(barrierKey(barrier.id));
  }
}
