import { HoldfastError } from "../../kernel/errors.ts";
import type { JournalDraft, JournalEntry } from "../../kernel/journal.ts";
import { decodeEntry, encodeEntry } from "../../kernel/record-codec.ts";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle, shardOfHandle, shardOfPrincipal } from "../../kernel/secret.ts";
import { entryCursor } from "./cursor.ts";
import type { Shard } from "./layout.ts";
import { AUTHORITY } from "./layout.ts";
import type { Arg } from "./link.ts";

/**
 * Entries as the scripts take them: adds the timelines to `keys` and answers the pairs of a timeline's place and the
 * entry. `written` is there for sure, others only perhaps. @throws HoldfastError `invalid-argument` for an entry of a session that lives in another shard.
 */
export function journalArgs(
  drafts: readonly JournalDraft[],
  shard: Shard,
  keys: string[],
  written?: Handle,
): Arg[] {
  const args: Arg[] = [];
  for (const draft of drafts) {
    let place = 0;
    if (draft.handle !== undefined && (draft.handle === written || isInShard(draft.handle, shard))) {
      const timeline = shard.timeline(draft.handle);
      place = keys.indexOf(timeline) + 1;
      if (place === 0) place = keys.push(timeline);
      if (draft.handle !== written) place = -place;
    }
    args.push(place, encodeEntry(draft));
  }
  return args;
}

/** The shard an entry is written in: its session's, or its principal's, or the authority's. */
export function shardOfEntry(draft: JournalDraft): number {
  if (draft.handle !== undefined && parseHandle(draft.handle) !== undefined)
    return shardOfHandle(draft.handle);
  return draft.principal === undefined ? AUTHORITY : shardOfPrincipal(draft.principal);
}

/** An element of a timeline: the entry's number, a space, the entry. */
export function timelineEntry(text: string, shard: number): JournalEntry {
  const space = text.indexOf(" ");
  const cursor = entryCursor(shard, Number(text.slice(0, space)));
  return Object.assign(decodeEntry(text.slice(space + 1)), { cursor });
}

function isInShard(handle: Handle, shard: Shard): boolean {
  if (parseHandle(handle) === undefined) return false;
  if (shardOfHandle(handle) === shard.index) return true;
  throw new HoldfastError(
    "invalid-argument",
    "An entry of a session in another shard cannot go with this write; append it by itself.",
    { detail: { handle, shard: shard.index } },
  );
}
