import type { Barrier, BarrierDraft } from "../../kernel/barrier.ts";
import type { JournalDraft } from "../../kernel/journal.ts";
import { isLongGone } from "../../kernel/nodes.ts";
import type { NodeLease } from "../../kernel/store.ts";
import type { Databases } from "./environment.ts";
import { prepare, readNumber, writeEntries } from "./journal-writer.ts";
import { expiryKey, keyText, META } from "./layout.ts";

/** Barriers, nodes and tickets: as record-writes.ts, each answers a function for a write transaction. */

export function barrierRaise(db: Databases, draft: BarrierDraft, entry: JournalDraft): () => Barrier {
  const entries = prepare([entry]);
  return () => {
    const barrier = { ...draft, seq: readNumber(db, META.barrierSeq) + 1 };
    db.meta.putSync(META.barrierSeq, String(barrier.seq));
    db.barriers.putSync(barrierKey(draft.id), JSON.stringify(barrier));
    writeEntries(db, entries);
    return barrier;
  };
}

export function barrierLift(db: Databases, id: string, entry: JournalDraft): () => boolean {
  const entries = prepare([entry]);
  return () => {
    if (!db.barriers.removeSync(barrierKey(id))) return false;
    writeEntries(db, entries);
    return true;
  };
}

export function storedBarriers(db: Databases): Barrier[] {
  const barriers: Barrier[] = [];
  for (const { value } of db.barriers.getRange()) barriers.push(JSON.parse(value) as Barrier);
  return barriers.sort((a, b) => a.seq - b.seq);
}

export function barrierKey(id: string): string {
  return keyText(`b:${id}`);
}

export function nodeLease(db: Databases, node: NodeLease, expect: number): () => boolean {
  const key = keyText(`n:${node.id}`);
  const text = JSON.stringify(node);
  return () => {
    const stored = db.nodes.get(key);
    const epoch = stored === undefined ? 0 : (JSON.parse(stored) as NodeLease).epoch;
    if (epoch !== expect) return false;
    if (node.epoch > expect)
      for (const one of storedNodes(db))
        if (isLongGone(one, node.startedAt)) db.nodes.removeSync(keyText(`n:${one.id}`));
    db.nodes.putSync(key, text);
    return true;
  };
}

export function storedNodes(db: Databases): NodeLease[] {
  const nodes: NodeLease[] = [];
  for (const { value } of db.nodes.getRange()) nodes.push(JSON.parse(value) as NodeLease);
  return nodes;
}

export function ticketPut(
  db: Databases,
  ticket: string,
  value: Uint8Array,
  expiresAt: number,
  now: number,
): () => boolean {
  const key = ticketKey(ticket);
  const bytes = Buffer.alloc(EXPIRY_BYTES + value.length);
  bytes.writeDoubleBE(expiresAt, 0);
  bytes.set(value, EXPIRY_BYTES);
  return () => {
    const stored = db.tickets.get(key);
    if (stored !== undefined) {
      if (expiryOf(stored) > now) return false;
      db.ticketExpiry.removeSync(expiryKey(expiryOf(stored), key));
    }
    db.tickets.putSync(key, bytes);
    db.ticketExpiry.putSync(expiryKey(expiresAt, key), "");
    return true;
  };
}

/** Takes the ticket away, whoever asks, and gives its value to who asks in time. */
export function ticketTake(db: Databases, ticket: string, now: number): () => Uint8Array | undefined {
  const key = ticketKey(ticket);
  return () => {
    const stored = db.tickets.get(key);
    if (stored === undefined) return undefined;
    const expiresAt = expiryOf(stored);
    const value = Uint8Array.from(stored.subarray(EXPIRY_BYTES));
    db.tickets.removeSync(key);
    db.ticketExpiry.removeSync(expiryKey(expiresAt, key));
    return expiresAt > now ? value : undefined;
  };
}

export function ticketPeek(db: Databases, ticket: string, now: number): Uint8Array | undefined {
  const stored = db.tickets.get(ticketKey(ticket));
  return stored === undefined || expiryOf(stored) <= now
    ? undefined
    : Uint8Array.from(stored.subarray(EXPIRY_BYTES));
}

function ticketKey(ticket: string): string {
  return keyText(`t:${ticket}`);
}

function expiryOf(stored: Uint8Array): number {
  return new DataView(stored.buffer, stored.byteOffset, stored.byteLength).getFloat64(0);
}

const EXPIRY_BYTES = 8;
