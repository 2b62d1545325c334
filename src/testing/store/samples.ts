import type { JournalDraft } from "../../kernel/journal.ts";
import type { SessionEvent } from "../../kernel/lifecycle.ts";
import { phaseOf } from "../../kernel/lifecycle.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import { credentialKey, mintHandle, mintSecret, shardOfPrincipal } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";

/** The instant samples are made at, where a test does not say another: now, so that no store finds them old. */
export const START: number = Date.now();

/** A live session's first version, with a handle and a key of its own in its principal's shard. */
export function sampleRecord(changes: Partial<SessionRecord> = {}): SessionRecord {
  const shard = shardOfPrincipal(changes.principal);
  return {
    handle: mintHandle(shard),
    version: 1,
    mechanism: "web",
    mode: "request-response",
    state: "established",
    epoch: 0,
    barrierSeq: 0,
    createdAt: START,
    touchedAt: START,
    idleAt: START + 1_800_000,
    idleMs: 1_800_000,
    absoluteAt: START + 43_200_000,
    credentials: { current: sampleKey(shard), retired: [] },
    peer: { address: "192.0.2.7", agent: "suite" },
    data: { theme: "dark" },
    ...changes,
  };
}

export function sampleKey(shard: number): CredentialKey {
  const key = credentialKey(mintSecret(shard).reveal());
  if (key === undefined) throw new Error("a minted secret has a key");
  return key;
}

/** The next version of `record`. */
export function following(record: SessionRecord, changes: Partial<SessionRecord> = {}): SessionRecord {
  return { ...record, version: record.version + 1, ...changes };
}

/** The last version of `record`: ended by a logout. */
export function ended(record: SessionRecord, at: number = START + 1000): SessionRecord {
  const { owner: _owner, ...rest } = record;
  return {
    ...rest,
    version: record.version + 1,
    state: "ended",
    ended: { at, reason: "logout", purgeAt: at + 86_400_000 },
  };
}

/** The journal entry of a change that led to `record`. */
export function entryOf(record: SessionRecord, event: SessionEvent): JournalDraft {
  return {
    handle: record.handle,
    version: record.version,
    at: record.touchedAt,
    phase: phaseOf(event),
    event,
    mechanism: record.mechanism,
    ...(record.principal === undefined ? {} : { principal: record.principal }),
  };
}

export function note(
  event: "epoch" | "barrier" | "barrier-lifted" | "note",
  principal?: string,
): JournalDraft {
  return { at: START, phase: "governance", event, ...(principal === undefined ? {} : { principal }) };
}

/** Creates `record` against the standing of now and says that it must succeed. */
export async function put(
  store: SessionStore,
  record: SessionRecord = sampleRecord(),
): Promise<SessionRecord> {
  const standing = await store.standing(record.principal);
  const made = { ...record, epoch: standing.epoch, barrierSeq: standing.barrierSeq };
  const outcome = await store.create(made, [entryOf(made, "establish")], standing);
  if (outcome !== "created") throw new Error(`a fresh session was not created: ${outcome}`);
  return made;
}

/** Writes the next version and says that it must succeed. */
export async function step(
  store: SessionStore,
  record: SessionRecord,
  changes: Partial<SessionRecord> = {},
  event: SessionEvent = "update",
): Promise<SessionRecord> {
  const next = following(record, changes);
  return mustUpdate(store, record, next, event);
}

export async function end(store: SessionStore, record: SessionRecord): Promise<SessionRecord> {
  return mustUpdate(store, record, ended(record), "end");
}

async function mustUpdate(
  store: SessionStore,
  record: SessionRecord,
  next: SessionRecord,
  event: SessionEvent,
): Promise<SessionRecord> {
  const outcome = await store.update(record, next, [entryOf(next, event)]);
  if (outcome !== "updated") throw new Error(`an uncontested update was refused: ${outcome}`);
  return next;
}

/** Every record of a term, page by page. */
export async function listAll(store: SessionStore, term: string, limit = 1000): Promise<SessionRecord[]> {
  const records: SessionRecord[] = [];
  let after: Handle | undefined;
  do {
    const page = await store.list({ term, limit, ...(after === undefined ? {} : { after }) });
    for (const found of page.found) records.push(found.record);
    after = page.next;
  } while (after !== undefined);
  return records;
}
