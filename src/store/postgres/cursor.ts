import type { PostgresRow } from "./client.ts";
import { textIn } from "./client.ts";

/**
 * Where a follower stands. Sequence numbers are given before their transactions commit, so "after number 7" would miss
 * a 6 that commits late. A place is therefore a snapshot, which names every transaction it does not include, or an
 * entry with the oldest transaction that was still under way when it was written: what can have been committed after it
 * is of that transaction or a later one.
 *
 * As text: `s1-700:705:702,703` or `e1-700.704.981`, the number in front being the journal's generation.
 */
export type Place =
  | { readonly kind: "snapshot"; readonly generation: string; readonly snapshot: string }
  | {
      readonly kind: "entry";
      readonly generation: string;
      readonly horizon: string;
      readonly xid: string;
      readonly seq: string;
    };

export function formatPlace(place: Place): string {
  return place.kind === "snapshot"
    ? `s${place.generation}-${place.snapshot}`
    : `e${place.generation}-${place.horizon}.${place.xid}.${place.seq}`;
}

/** `undefined` when the text is no cursor of ours. */
export function parsePlace(cursor: string): Place | undefined {
  const snapshot = /^s(\d{1,18})-(\d{1,20}:\d{1,20}:(?:\d{1,20}(?:,\d{1,20})*)?)$/.exec(cursor);
  if (snapshot !== null) {
    const [, generation = "", text = ""] = snapshot;
    return { kind: "snapshot", generation, snapshot: text };
  }
  const entry = /^e(\d{1,18})-(\d{1,20})\.(\d{1,20})\.(\d{1,18})$/.exec(cursor);
  if (entry === null) return undefined;
  const [, generation = "", horizon = "", xid = "", seq = ""] = entry;
  return { kind: "entry", generation, horizon, xid, seq };
}

export interface Snapshot {
  /** Every transaction before it is over and included. */
  readonly xmin: string;
  /** Neither it nor any later one is included. */
  readonly xmax: string;
  /** Those between that are not. */
  readonly open: readonly string[];
}

export function parseSnapshot(text: string): Snapshot {
  const [xmin = "0", xmax = "0", open = ""] = text.split(":");
  return { xmin, xmax, open: open === "" ? [] : open.split(",") };
}

/** The oldest transaction whose entries may be missing from what was told up to `place`. */
export function oldestNeeded(place: Place): bigint {
  return BigInt(place.kind === "snapshot" ? parseSnapshot(place.snapshot).xmin : place.horizon);
}

export function entryPlace(generation: string, row: PostgresRow): Extract<Place, { kind: "entry" }> {
  return {
    kind: "entry",
    generation,
    horizon: textIn(row, "horizon"),
    xid: textIn(row, "xid"),
    seq: textIn(row, "seq"),
  };
}
