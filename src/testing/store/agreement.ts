import type { JournalEntry } from "../../kernel/journal.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import { credentialKeys, dueAt, indexTerms } from "../../kernel/record.ts";
import type { Handle } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { listAll } from "./samples.ts";

export interface AgreementOptions {
  /** A cursor from before the first of the sessions: the feed from there on must tell what the timelines tell. */
  readonly since?: string;
  /** Sessions that were purged: nothing may lead to them. */
  readonly purged?: readonly SessionRecord[];
}

/**
 * Compares what a store says of the same sessions by every way there is: its lists, look-ups by handle and by key,
 * deadlines, timelines and feed. Answers one sentence for each disagreement; none when all is well.
 * Takes it that every write of a session came with one journal entry of its version, and that nobody writes meanwhile.
 */
export async function storeDisagreements(
  store: SessionStore,
  options: AgreementOptions = {},
): Promise<string[]> {
  const wrong: string[] = [];
  const records = new Map<Handle, SessionRecord>();
  for (const term of ["live", "ended"]) {
    for (const record of await listAll(store, term)) {
      if (records.has(record.handle)) wrong.push(`${record.handle} is listed twice in live and ended`);
      records.set(record.handle, record);
    }
  }
  await compareLookups(store, records, wrong);
  await compareTerms(store, records, wrong);
  await compareDeadlines(store, records, wrong);
  await compareJournal(store, records, options.since, wrong);
  for (const record of options.purged ?? []) await lookForRemains(store, record, wrong);
  return wrong;
}

async function compareLookups(
  store: SessionStore,
  records: ReadonlyMap<Handle, SessionRecord>,
  wrong: string[],
): Promise<void> {
  for (const record of records.values()) {
    const got = await store.get(record.handle);
    if (got?.record.version !== record.version) {
      wrong.push(
        `${record.handle} is listed with version ${record.version}, got with ${got?.record.version}`,
      );
    }
    for (const key of credentialKeys(record)) {
      const found = await store.find(key);
      if (found?.record.handle !== record.handle) {
        wrong.push(`a key of ${record.handle} leads to ${found?.record.handle ?? "nothing"}`);
      }
    }
  }
}

async function compareTerms(
  store: SessionStore,
  records: ReadonlyMap<Handle, SessionRecord>,
  wrong: string[],
): Promise<void> {
  const expected = new Map<string, Handle[]>();
  for (const record of records.values()) {
    for (const term of indexTerms(record)) pushTo(expected, term, record.handle);
  }
  for (const [term, handles] of expected) {
    const listed = (await listAll(store, term)).map((record) => record.handle);
    handles.sort();
    if (listed.join() !== handles.join())
      wrong.push(`${term} lists ${listed.length}, should list ${handles.length}`);
  }
}

async function compareDeadlines(
  store: SessionStore,
  records: ReadonlyMap<Handle, SessionRecord>,
  wrong: string[],
): Promise<void> {
  const expected = [...records.values()].filter((record) => dueAt(record) !== undefined);
  const listed = await store.due(Number.MAX_SAFE_INTEGER, records.size + 1);
  const handles = new Set(listed.map((record) => record.handle));
  if (listed.length !== expected.length || expected.some((record) => !handles.has(record.handle))) {
    wrong.push(`${listed.length} sessions are due some time, should be ${expected.length}`);
  }
  for (let i = 1; i < listed.length; i++) {
    const [before, after] = [listed[i - 1], listed[i]];
    if (before === undefined || after === undefined) continue;
    if ((dueAt(before) ?? 0) > (dueAt(after) ?? 0)) wrong.push(`${after.handle} is due out of order`);
  }
}

async function compareJournal(
  store: SessionStore,
  records: ReadonlyMap<Handle, SessionRecord>,
  since: string | undefined,
  wrong: string[],
): Promise<void> {
  const fed = since === undefined ? undefined : await feedByHandle(store, since);
  for (const record of records.values()) {
    const timeline = await store.timeline(record.handle);
    const versions = timeline.map((entry) => entry.version);
    const all = Array.from({ length: record.version }, (_, i) => i + 1);
    if (versions.join() !== all.join()) {
      wrong.push(`${record.handle} has version ${record.version}, its timeline tells of ${versions.join()}`);
    }
    const heard = fed?.get(record.handle)?.map((entry) => entry.version);
    if (fed !== undefined && heard?.join() !== all.join()) {
      wrong.push(`${record.handle} has version ${record.version}, the feed tells of ${heard?.join()}`);
    }
  }
}

async function lookForRemains(store: SessionStore, record: SessionRecord, wrong: string[]): Promise<void> {
  if ((await store.get(record.handle)) !== undefined) wrong.push(`${record.handle} was purged and is there`);
  for (const key of credentialKeys(record)) {
    if ((await store.find(key)) !== undefined) wrong.push(`a key of ${record.handle} outlived its purge`);
  }
  if ((await store.timeline(record.handle)).length > 0)
    wrong.push(`the timeline of ${record.handle} outlived it`);
}

/** What the feed tells between `since` and now, each entry once. */
async function feedByHandle(store: SessionStore, since: string): Promise<Map<Handle, JournalEntry[]>> {
  const fed = new Map<Handle, JournalEntry[]>();
  const seen = new Set<string>();
  const enough = new AbortController();
  for await (const change of store.changes(since, { signal: enough.signal })) {
    if (change.type === "live") break;
    if (change.type === "gap") throw new Error("the feed was trimmed before it could be compared");
    for (const entry of change.entries) {
      if (entry.handle === undefined || seen.has(entry.cursor)) continue;
      seen.add(entry.cursor);
      pushTo(fed, entry.handle, entry);
    }
  }
  enough.abort();
  return fed;
}

function pushTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
