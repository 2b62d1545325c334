import { getLastVersion } from "lmdb";

import type { JournalDraft } from "../../kernel/journal.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import { credentialKeys, indexTerms, sameTerms } from "../../kernel/record.ts";
import { decodeRecord, encodeRecord } from "../../kernel/record-codec.ts";
import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import type { CreateOutcome, Standing, UpdateOutcome } from "../../kernel/store.ts";
import type { Databases } from "./environment.ts";
import type { PreparedEntry } from "./journal-writer.ts";
import { prepare, readNumber, writeEntries } from "./journal-writer.ts";
import { dueKey, isLookupKey, keyText, META, termPrefix } from "./layout.ts";

/** Each answers a function for a write transaction: first it decides, then it writes all or nothing. */

export function creation(
  db: Databases,
  record: SessionRecord,
  drafts: readonly JournalDraft[],
  standing: Standing,
): () => CreateOutcome {
  const { handle } = record;
  const text = encodeRecord(record);
  const keys = credentialKeys(record);
  const terms = indexTerms(record).map((term) => termPrefix(term) + handle);
  const due = dueKey(record);
  const entries = prepare(drafts);
  return () => {
    if (standing.barrierSeq !== readNumber(db, META.barrierSeq)) return "stale-standing";
    if (standing.epoch !== readEpoch(db, record.principal)) return "stale-standing";
    if (db.records.doesExist(handle) || keys.some((key) => db.keys.doesExist(key))) return "exists";
    db.records.putSync(handle, text, 1);
    for (const key of keys) db.keys.putSync(key, handle);
    for (const term of terms) db.terms.putSync(term, "");
    if (due !== undefined) db.due.putSync(due, "");
    writeEntries(db, entries);
    return "created";
  };
}

export function replacement(
  db: Databases,
  prev: SessionRecord,
  next: SessionRecord,
  drafts: readonly JournalDraft[],
): () => UpdateOutcome {
  const text = encodeRecord(next);
  const change = indexChange(prev, next);
  const entries = prepare(drafts);
  return () => {
    const version = storedVersion(db, prev.handle);
    if (version === undefined) return "absent";
    if (version !== prev.version) return "conflict";
    if (change.newKeys.some((key) => db.keys.doesExist(key))) return "conflict";
    write(db, next, text, change, entries);
    return "updated";
  };
}

export function removal(db: Databases, record: SessionRecord): () => boolean {
  const { handle } = record;
  const keys = credentialKeys(record);
  const terms = indexTerms(record).map((term) => termPrefix(term) + handle);
  const due = dueKey(record);
  return () => {
    if (storedVersion(db, handle) !== record.version) return false;
    const timeline = [...db.timelines.getKeys({ start: `${handle}\u007f`, end: `${handle}\u0080` })];
    db.records.removeSync(handle);
    for (const key of keys) db.keys.removeSync(key);
    for (const term of terms) db.terms.removeSync(term);
    if (due !== undefined) db.due.removeSync(due);
    for (const key of timeline) db.timelines.removeSync(key);
    return true;
  };
}

/** Raises the epoch; `keep` names the sessions of the epoch until now that go along. */
export function epochRaise(
  db: Databases,
  principal: string,
  keep: readonly Handle[],
  draft: JournalDraft,
): () => number {
  const entries = prepare([draft]);
  return () => {
    const old = readEpoch(db, principal);
    const epoch = old + 1;
    const kept: SessionRecord[] = [];
    for (const handle of keep) {
      const text = isLookupKey(handle) ? db.records.get(handle) : undefined;
      if (text === undefined) continue;
      const record = decodeRecord(text);
      // One of an older epoch was revoked before: to keep it now would bring it back.
      if (record.principal === principal && record.epoch === old && record.state !== "ended")
        kept.push(record);
    }
    db.epochs.putSync(epochKey(principal), String(epoch));
    for (const record of kept) {
      const next = { ...record, epoch, version: record.version + 1 };
      db.records.putSync(next.handle, encodeRecord(next), next.version);
    }
    writeEntries(db, entries);
    return epoch;
  };
}

export function readEpoch(db: Databases, principal: string | undefined): number {
  if (principal === undefined) return 0;
  const text = db.epochs.get(epochKey(principal));
  return text === undefined ? 0 : Number(text);
}

interface IndexChange {
  readonly newKeys: readonly CredentialKey[];
  readonly lostKeys: readonly CredentialKey[];
  readonly newTerms: readonly string[];
  readonly lostTerms: readonly string[];
  readonly newDue: string | undefined;
  readonly lostDue: string | undefined;
}

/** Most updates change no key and no term; then nothing is computed but the deadline. */
function indexChange(prev: SessionRecord, next: SessionRecord): IndexChange {
  const [oldDue, due] = [dueKey(prev), dueKey(next)];
  const sameCredentials = prev.credentials === next.credentials;
  const keysBefore = sameCredentials ? [] : credentialKeys(prev);
  const keysAfter = sameCredentials ? [] : credentialKeys(next);
  const sameLists = sameTerms(prev, next);
  const termsBefore = sameLists ? [] : indexTerms(prev);
  const termsAfter = sameLists ? [] : indexTerms(next);
  return {
    newKeys: keysAfter.filter((key) => !keysBefore.includes(key)),
    lostKeys: keysBefore.filter((key) => !keysAfter.includes(key)),
    newTerms: termsAfter.filter((term) => !termsBefore.includes(term)).map(termPrefix),
    lostTerms: termsBefore.filter((term) => !termsAfter.includes(term)).map(termPrefix),
    newDue: due === oldDue ? undefined : due,
    lostDue: due === oldDue ? undefined : oldDue,
  };
}

function write(
  db: Databases,
  next: SessionRecord,
  text: string,
  change: IndexChange,
  entries: readonly PreparedEntry[],
): void {
  const { handle } = next;
  db.records.putSync(handle, text, next.version);
  for (const key of change.lostKeys) db.keys.removeSync(key);
  for (const key of change.newKeys) db.keys.putSync(key, handle);
  for (const term of change.lostTerms) db.terms.removeSync(term + handle);
  for (const term of change.newTerms) db.terms.putSync(term + handle, "");
  if (change.lostDue !== undefined) db.due.removeSync(change.lostDue);
  if (change.newDue !== undefined) db.due.putSync(change.newDue, "");
  writeEntries(db, entries);
}

/** LMDB's own entry version is the record's, so that a check costs no decoding. */
function storedVersion(db: Databases, handle: Handle): number | undefined {
  return isLookupKey(handle) && db.records.doesExist(handle) ? getLastVersion() : undefined;
}

function epochKey(principal: string): string {
  return keyText(`p:${principal}`);
}
