import type { Following, Looks } from "../../kernel/following.ts";
import { following } from "../../kernel/following.ts";
import type { Change, JournalDraft, JournalEntry } from "../../kernel/journal.ts";
import type { Draft } from "../../kernel/record.ts";

/** The newest `limit` entries of a journal, and those who follow it. A cursor is the sequence number of an entry. */
export class RingJournal {
  readonly #limit: number;
  readonly #ring: JournalEntry[] = [];
  /** Sequence number of the newest entry; 0 before the first. */
  #head = 0;
  #waiting: (() => void)[] = [];
  #failure: Error | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#ring.length;
  }

  get followers(): number {
    return this.#waiting.length;
  }

  write(draft: JournalDraft): JournalEntry {
    const seq = ++this.#head;
    const entry = entryOf(draft, String(seq));
    this.#ring[(seq - 1) % this.#limit] = entry;
    if (this.#waiting.length > 0) this.#wake();
    return entry;
  }

  /** Ends every follower with `failure`. */
  fail(failure: Error): void {
    this.#failure = failure;
    this.#wake();
  }

  /** `now` is the instant of this call, not of the first `next()`. */
  follow(from: string, signal: AbortSignal): Following {
    const start = from === "now" ? this.#head : parseCursor(from);
    return following((looks) => this.#run(start, signal, looks));
  }

  async *#run(start: number | undefined, signal: AbortSignal, looks: Looks): AsyncGenerator<Change> {
    looks.rouse = () => this.#wake();
    let at = start;
    let live = false;
    let wake = (): void => {};
    // One listener for as long as it follows: adding and taking one off costs more than the entry it waits for.
    const aborted = (): void => wake();
    signal.addEventListener("abort", aborted);
    try {
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        const oldest = this.#head - this.#ring.length;
        if (at === undefined || at < oldest || at > this.#head) {
          at = oldest;
          yield { type: "gap", cursor: String(at) };
        } else if (at < this.#head) {
          const entries = this.#after(at);
          at += entries.length;
          yield { type: "entries", entries, cursor: String(at) };
        } else if (looks.wanted) {
          looks.begin();
          looks.done();
        } else if (live) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            this.#waiting.push(resolve);
          });
        } else {
          live = true;
          yield { type: "live", cursor: String(at) };
        }
      }
    } finally {
      this.#waiting = this.#waiting.filter((one) => one !== wake);
      signal.removeEventListener("abort", aborted);
    }
  }

  #after(at: number): JournalEntry[] {
    const entries: JournalEntry[] = [];
    for (let seq = at + 1; seq <= this.#head && entries.length < PAGE; seq++) {
      const entry = this.#ring[(seq - 1) % this.#limit];
      if (entry !== undefined) entries.push(entry);
    }
    return entries;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/**
 * Member by member. `{ ...draft, cursor }` would make a dictionary of each entry, for the name that is new after the
 * spread: three times the size, for as long as the entry is kept.
 */
function entryOf(draft: JournalDraft, cursor: string): JournalEntry {
  const { at, phase, event, handle, version, mechanism, node, principal, by, detail } = draft;
  const entry: Draft<JournalEntry> = { cursor, at, phase, event };
  if (handle !== undefined) entry.handle = handle;
  if (version !== undefined) entry.version = version;
  if (mechanism !== undefined) entry.mechanism = mechanism;
  if (node !== undefined) entry.node = node;
  if (principal !== undefined) entry.principal = principal;
  if (by !== undefined) entry.by = by;
  if (detail !== undefined) entry.detail = detail;
  return entry;
}

/** Entries a follower is given at once. */
const PAGE = 500;

/** The sequence number a cursor stands for; `undefined` when it is none of ours. */
export function parseCursor(cursor: string): number | undefined {
  return /^\d{1,15}$/.test(cursor) ? Number(cursor) : undefined;
}
