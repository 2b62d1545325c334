import type { Change, Following, JournalEntry, Looks } from "../../kernel/index.ts";
import { decodeEntry, following } from "../../kernel/index.ts";
import type { PostgresRow, PostgresStatement } from "./client.ts";
import { booleanIn, prepared, textIn } from "./client.ts";
import type { Place } from "./cursor.ts";
import { entryPlace, formatPlace, oldestNeeded, parsePlace, parseSnapshot } from "./cursor.ts";
import type { Database } from "./database.ts";
import type { Settings } from "./options.ts";
import type { Wake } from "./wake.ts";

/** Entries a follower is given at once. */
const PAGE = 500;

/** The journal as followers read it. */
export class Journal {
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #ready: () => Promise<void>;
  readonly #wake: Wake;
  readonly #page: (values: unknown[]) => PostgresStatement;
  /** Reads of this turn that are not sent yet, by what they ask. */
  readonly #unsent = new Map<string, Promise<readonly PostgresRow[]>>();

  constructor(database: Database, settings: Settings, ready: () => Promise<void>, wake: Wake) {
    this.#database = database;
    this.#settings = settings;
    this.#ready = ready;
    this.#wake = wake;
    const schema = `"${settings.schema}"`;
    this.#page = prepared(
      `select h.*, j.* from ${schema}.journal_head() h left join lateral ` +
        `${schema}.journal_page($1::xid8, $2::xid8[], $3::xid8, $4, $5::xid8, $6, $7::pg_snapshot, $8) j on true`,
    );
  }

  follow(from: string, signal: AbortSignal): Following {
    return following((looks) => this.#run(from, signal, looks));
  }

  async *#run(from: string, signal: AbortSignal, looks: Looks): AsyncGenerator<Change> {
    if (signal.aborted) return;
    looks.rouse = () => this.#wake.hint();
    const leave = this.#wake.join();
    try {
      await this.#ready();
      let reading = from === "now" ? undefined : begin(parsePlace(from));
      let live = false;
      while (!signal.aborted) {
        const seen = this.#wake.count;
        looks.begin();
        const page = await this.#read(reading);
        if (signal.aborted) return;
        if (page.gap) {
          yield { type: "gap", cursor: formatPlace(page.place) };
        } else if (page.entries.length > 0) {
          yield { type: "entries", entries: page.entries, cursor: formatPlace(page.place) };
        }
        reading = page.next;
        if (page.gap || !page.complete) continue;
        looks.done();
        if (!live) {
          live = true;
          yield { type: "live", cursor: formatPlace(page.place) };
        }
        await this.#wake.after(seen, this.#settings.pollMs, signal);
      }
    } catch (error) {
      // Whoever has stopped following is told of nothing any more.
      if (!signal.aborted) throw error;
    } finally {
      leave();
    }
  }

  /** `reading` undefined: from now on. */
  async #read(reading: Reading | undefined): Promise<Page> {
    const rows = await this.#rows(pageValues(reading));
    const [head] = rows;
    if (head === undefined || !booleanIn(head, "alive")) return this.#revive();
    const generation = textIn(head, "generation");
    const snapshot = textIn(head, "snapshot");
    const here: Place = { kind: "snapshot", generation, snapshot };
    if (reading === undefined) {
      return { gap: false, complete: true, entries: [], place: here, next: begin(here) };
    }
    if (isGone(reading, head)) return gapBefore(generation, textIn(head, "trimmed"));
    const found = rows.filter((row) => row["xid"] !== null);
    const entries = found.map((row) => entryFrom(row, generation));
    const last = found.at(-1);
    if (last === undefined || found.length < PAGE) {
      // All that was visible in the snapshot the reading goes up to, which is this one unless it began earlier.
      const place: Place = { kind: "snapshot", generation, snapshot: reading.until ?? snapshot };
      return { gap: false, complete: reading.until === undefined, entries, place, next: begin(place) };
    }
    const place = entryPlace(generation, last);
    const next = { ...reading, afterXid: place.xid, afterSeq: place.seq, until: reading.until ?? snapshot };
    return { gap: false, complete: false, entries, place, next };
  }

  /**
   * A hint wakes all followers of this process in one turn, and those that were at the same place before read the same:
   * once for all of them. It is sent when all have asked, so that it sees whatever any of them must see.
   */
  #rows(values: unknown[]): Promise<readonly PostgresRow[]> {
    const asked = JSON.stringify(values);
    const shared = this.#unsent.get(asked);
    if (shared !== undefined) return shared;
    const rows = new Promise<void>((resolve) => process.nextTick(resolve)).then(() => {
      this.#unsent.delete(asked);
      return this.#database.run(this.#page(values), this.#settings.timeoutMs);
    });
    this.#unsent.set(asked, rows);
    return rows;
  }

  /** The journal's first user after a crash begins its new generation; then it is read from its beginning. */
  async #revive(): Promise<Page> {
    await this.#database.run(
      { text: `select "${this.#settings.schema}".revive()` },
      this.#settings.slowTimeoutMs,
    );
    return this.#read(begin(undefined));
  }
}

/** A walk through the entries that were committed after a place, up to a snapshot. */
interface Reading {
  /** `undefined`: a place that never was. */
  readonly from: Place | undefined;
  /** What was told of them already. */
  readonly afterXid: string;
  readonly afterSeq: string;
  /** Up to where, as a snapshot; `undefined`: to what is visible when it is read. */
  readonly until: string | undefined;
}

interface Page {
  readonly gap: boolean;
  /** Nothing more is known of. */
  readonly complete: boolean;
  readonly entries: readonly JournalEntry[];
  readonly place: Place;
  readonly next: Reading;
}

function begin(from: Place | undefined): Reading {
  return { from, afterXid: "0", afterSeq: "0", until: undefined };
}

function isGone({ from }: Reading, head: PostgresRow): boolean {
  if (from === undefined || from.generation !== textIn(head, "generation")) return true;
  const oldest = oldestNeeded(from);
  const { xmax } = parseSnapshot(textIn(head, "snapshot"));
  // One from the future was made in another cluster.
  return oldest <= BigInt(textIn(head, "trimmed")) || oldest > BigInt(xmax);
}

/** After a gap one goes on with the oldest entry that is kept. */
function gapBefore(generation: string, trimmed: string): Page {
  const horizon = String(BigInt(trimmed) + 1n);
  const place: Place = { kind: "entry", generation, horizon, xid: "0", seq: "0" };
  return { gap: true, complete: false, entries: [], place, next: begin(place) };
}

export function entryFrom(row: PostgresRow, generation: string): JournalEntry {
  const cursor = formatPlace(entryPlace(generation, row));
  return Object.assign(decodeEntry(textIn(row, "entry")), { cursor });
}

function pageValues(reading: Reading | undefined): unknown[] {
  const from = reading?.from;
  // Nothing is asked for but the head.
  if (reading === undefined || from === undefined) return ["0", [], "0", "0", "0", "0", null, 0];
  const { afterXid, afterSeq, until } = reading;
  const rest = [afterXid, afterSeq, until ?? null, PAGE];
  if (from.kind === "entry") return [from.horizon, [], from.xid, from.seq, ...rest];
  const { xmax, open } = parseSnapshot(from.snapshot);
  return [xmax, open, "0", "0", ...rest];
}
