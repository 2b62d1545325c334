import type { Following, Looks } from "../../kernel/following.ts";
import { following } from "../../kernel/following.ts";
import type { Change, JournalDraft, JournalEntry } from "../../kernel/journal.ts";

/** The newest `limit` entries of a journal, and those who follow it. A cursor is the sequence number of an entry. */
export class RingJournal {
  readonly #limit: number;
  readonly #ring: JournalEntry[] = [];
  /** Sequence number of the newest entry; 0 before the first. */
  #head = 0;
  readonly #waiting = new Set<() => void>();
  #failure: Error | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#ring.length;
  }

  get followers(): number {
    return this.#waiting.size;
  }

  write(draft: JournalDraft): JournalEntry {
    const seq = ++this.#head;
    const entry = { ...draft, cursor: String(seq) };
    this.#ring[(seq - 1) % this.#limit] = entry;
    if (this.#waiting.size > 0) this.#wake();
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
        await this.#next(signal);
      } else {
        live = true;
        yield { type: "live", cursor: String(at) };
      }
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

  #next(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }
}

/** Entries a follower is given at once. */
const PAGE = 500;

/** The sequence number a cursor stands for; `undefined` when it is none of ours. */
export function parseCursor(cursor: string): number | undefined {
  return /^\d{1,15}$/.test(cursor) ? Number(cursor) : undefined;
}
