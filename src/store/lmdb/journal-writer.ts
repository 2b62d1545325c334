import { encodeEntry } from "../../kernel/record-codec.ts";
import type { JournalDraft } from "../../kernel/journal.ts";
import type { Handle } from "../../kernel/secret.ts";
import type { Databases } from "./environment.ts";
import { META, timelineKey } from "./layout.ts";

/** A draft with its text, made before the transaction so that a draft that cannot be written fails its caller alone. */
export interface PreparedEntry {
  readonly draft: JournalDraft;
  readonly text: string;
}

export function prepare(drafts: readonly JournalDraft[]): PreparedEntry[] {
  return drafts.map((draft) => ({ draft, text: encodeEntry(draft) }));
}

/**
 * Appends to the journal, and to the timelines of the sessions that are `known`: one that was purged gets no timeline
 * that nobody would ever drop. Call inside a write transaction.
 */
export function writeEntries(
  db: Databases,
  entries: readonly PreparedEntry[],
  known: (handle: Handle) => boolean = () => true,
): void {
  if (entries.length === 0) return;
  let seq = readNumber(db, META.journalHead);
  for (const { draft, text } of entries) {
    seq += 1;
    db.journal.putSync(seq, text);
    if (draft.handle !== undefined && known(draft.handle))
      db.timelines.putSync(timelineKey(draft.handle, seq), text);
  }
  db.meta.putSync(META.journalHead, String(seq));
}

export function readNumber(db: Databases, name: string): number {
  return Number(db.meta.get(name) ?? 0);
}
