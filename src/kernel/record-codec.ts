import { HoldfastError } from "./errors.ts";
import type { JournalDraft } from "./journal.ts";
import type { SessionRecord } from "./record.ts";

/**
 * The one text form of a record: JSON with a leading format number, so that any tool can read a store and a later
 * release can tell its own from an older one.
 */
export function encodeRecord(record: SessionRecord): string {
  return FORMAT + JSON.stringify(record);
}

/** @throws HoldfastError `store-corrupt` when the text is not a record: the store was written by something else. */
export function decodeRecord(text: string): SessionRecord {
  if (!text.startsWith(FORMAT)) throw corrupt(text);
  const record = parse(text.slice(FORMAT.length));
  if (
    typeof record.handle !== "string" ||
    typeof record.version !== "number" ||
    typeof record.state !== "string" ||
    typeof record.credentials !== "object"
  ) {
    throw corrupt(text);
  }
  return record;
}

export function encodeEntry(entry: JournalDraft): string {
  return JSON.stringify(entry);
}

export function decodeEntry(text: string): JournalDraft {
  return parse(text) as unknown as JournalDraft;
}

const FORMAT = "1";

function parse(text: string): SessionRecord {
  try {
    return JSON.parse(text) as SessionRecord;
  } catch {
    throw corrupt(text);
  }
}

function corrupt(text: string): HoldfastError {
  return new HoldfastError(
    "store-corrupt",
    "The store holds something that is not a Holdfast record here; it may be shared with another program.",
    {
      detail: { length: text.length },
    },
  );
}
