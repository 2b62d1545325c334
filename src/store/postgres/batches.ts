import type { JournalDraft, SessionRecord, Standing } from "../../kernel/index.ts";
import {
  credentialKeys,
  dueAt,
  encodeEntry,
  encodeRecord,
  indexTerms,
  shardOfPrincipal,
} from "../../kernel/index.ts";
import { column, SEPARATOR } from "./column.ts";
import { BARRIER_LOCK } from "./governance-functions.ts";

// Batches of writes as the arrays their functions take. Items go by handle and keys by key (write-functions.ts).

export interface CreateItem {
  readonly record: SessionRecord;
  readonly entries: readonly JournalDraft[];
  readonly standing: Standing;
  readonly durable: boolean;
}

export interface UpdateItem {
  readonly prev: SessionRecord;
  readonly next: SessionRecord;
  readonly entries: readonly JournalDraft[];
  readonly durable: boolean;
}

/** The values of `create_sessions` up to its time. */
export function createValues(items: readonly CreateItem[]): unknown[] {
  const keys: Part[] = [];
  const terms: Part[] = [];
  const entries: Part[] = [];
  const shards = new Set<number>([BARRIER_LOCK]);
  for (const [i, { record, entries: drafts }] of items.entries()) {
    for (const key of new Set(credentialKeys(record))) keys.push({ item: i + 1, text: column(key) });
    for (const term of indexTerms(record)) terms.push({ item: i + 1, text: column(term) });
    addEntries(entries, i + 1, drafts);
    if (record.principal !== undefined) shards.add(shardOfPrincipal(record.principal));
  }
  return [
    items.map(({ record }) => column(record.handle)),
    items.map(({ record }) => principalOf(record)),
    items.map(({ record }) => dueAt(record) ?? null),
    items.map(({ record }) => encodeRecord(record)).join(SEPARATOR),
    items.map(({ standing }) => standing.epoch),
    items.map(({ standing }) => standing.barrierSeq),
    [...shards].sort((a, b) => a - b),
    ...pair(keys.sort(byText)),
    ...pair(terms),
    ...triple(entries),
  ];
}

/** The values of `update_sessions` up to its time. */
export function updateValues(items: readonly UpdateItem[]): unknown[] {
  const keys: Part[] = [];
  const lostKeys: Part[] = [];
  const terms: Part[] = [];
  const lostTerms: Part[] = [];
  const entries: Part[] = [];
  for (const [i, { prev, next, entries: drafts }] of items.entries()) {
    if (prev.credentials !== next.credentials) {
      differ(i + 1, credentialKeys(prev), credentialKeys(next), keys, lostKeys);
    }
    differ(i + 1, indexTerms(prev), indexTerms(next), terms, lostTerms);
    addEntries(entries, i + 1, drafts);
  }
  return [
    items.map(({ next }) => column(next.handle)),
    items.map(({ prev }) => prev.version),
    items.map(({ next }) => dueAt(next) ?? null),
    items.map(({ next }) => encodeRecord(next)).join(SEPARATOR),
    ...pair(keys.sort(byText)),
    ...pair(lostKeys.sort(byText)),
    ...pair(terms),
    ...pair(lostTerms),
    ...triple(entries),
  ];
}

/** The values of `purge_sessions` up to its waiting time. */
export function purgeValues(records: readonly SessionRecord[]): unknown[] {
  const keys: Part[] = [];
  const terms: Part[] = [];
  for (const [i, record] of records.entries()) {
    for (const key of new Set(credentialKeys(record))) keys.push({ item: i + 1, text: column(key) });
    for (const term of indexTerms(record)) terms.push({ item: i + 1, text: column(term) });
  }
  return [
    records.map((record) => column(record.handle)),
    records.map((record) => record.version),
    ...pair(keys.sort(byText)),
    ...pair(terms),
  ];
}

/** The values of `append_entries` up to its time. */
export function appendValues(batches: readonly (readonly JournalDraft[])[]): unknown[] {
  const drafts = batches.flat();
  return [drafts.map(handleOf), drafts.map(encodeEntry).join(SEPARATOR)];
}

function principalOf(record: SessionRecord): string | null {
  return record.principal === undefined ? null : column(record.principal);
}

/** A text that belongs to the item of a number, counted from 1 as PostgreSQL does. */
interface Part {
  readonly item: number;
  readonly text: string;
  readonly handle?: string | null;
}

function addEntries(entries: Part[], item: number, drafts: readonly JournalDraft[]): void {
  for (const draft of drafts) entries.push({ item, text: encodeEntry(draft), handle: handleOf(draft) });
}

function handleOf(draft: JournalDraft): string | null {
  return draft.handle === undefined ? null : column(draft.handle);
}

function differ(
  item: number,
  before: readonly string[],
  after: readonly string[],
  gained: Part[],
  lost: Part[],
): void {
  for (const text of new Set(after)) if (!before.includes(text)) gained.push({ item, text: column(text) });
  for (const text of new Set(before)) if (!after.includes(text)) lost.push({ item, text: column(text) });
}

function pair(parts: readonly Part[]): [number[], string[]] {
  return [parts.map((part) => part.item), parts.map((part) => part.text)];
}

function triple(parts: readonly Part[]): [number[], (string | null)[], string] {
  return [
    parts.map((part) => part.item),
    parts.map((part) => part.handle ?? null),
    parts.map((part) => part.text).join(SEPARATOR),
  ];
}

function byText(a: Part, b: Part): number {
  return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
}
