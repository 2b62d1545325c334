import type { FSWatcher } from "node:fs";
import { watch } from "node:fs";

import type { Following, Looks } from "../../kernel/following.ts";
import { following } from "../../kernel/following.ts";
import type { Change, JournalEntry } from "../../kernel/journal.ts";
import { decodeEntry } from "../../kernel/record-codec.ts";
import type { Environment } from "./environment.ts";
import { readNumber } from "./journal-writer.ts";
import { decodeCursor, encodeCursor, META } from "./layout.ts";

/**
 * Followers of the journal. What they are told comes from the journal itself, page by page after their cursor. What
 * wakes them may fail or come twice without harm: this process's own commits, a watch on the data file for those of
 * others, and a slow look in between in case the watch says nothing.
 */
export class Feed {
  readonly #environment: Environment;
  readonly #pollMs: number;
  readonly #sleeping = new Set<() => void>();
  #followers = 0;
  #watcher: FSWatcher | undefined;
  #stopListening: (() => void) | undefined;
  #failure: Error | undefined;

  constructor(environment: Environment, pollMs: number) {
    this.#environment = environment;
    this.#pollMs = pollMs;
  }

  get followers(): number {
    return this.#followers;
  }

  /** `now` is the instant of this call, not of the first `next()`. */
  follow(from: string, signal: AbortSignal): Following {
    const { db, journalId } = this.#environment;
    this.#environment.freshen();
    const start = from === "now" ? readNumber(db, META.journalHead) : decodeCursor(journalId, from);
    return following((looks) => this.#run(start, signal, looks));
  }

  /** Ends every follower with `failure`. */
  fail(failure: Error): void {
    this.#failure = failure;
    this.#wake();
  }

  async *#run(start: number | undefined, signal: AbortSignal, looks: Looks): AsyncGenerator<Change> {
    const { db, journalId } = this.#environment;
    this.#attach();
    looks.rouse = () => this.#wake();
    try {
      let at = start;
      let live = false;
      while (!signal.aborted) {
        if (this.#failure !== undefined) throw this.#failure;
        looks.begin();
        this.#environment.renew();
        const tail = readNumber(db, META.journalTail);
        const head = readNumber(db, META.journalHead);
        if (at === undefined || at < tail || at > head) {
          at = tail;
          yield { type: "gap", cursor: encodeCursor(journalId, at) };
        } else if (at < head) {
          const entries = this.#page(at);
          at += entries.length;
          yield { type: "entries", entries, cursor: encodeCursor(journalId, at) };
        } else if (looks.wanted) {
          looks.done();
        } else if (live) {
          await this.#sleep(head, signal);
        } else {
          live = true;
          yield { type: "live", cursor: encodeCursor(journalId, at) };
        }
      }
    } finally {
      this.#detach();
    }
  }

  #page(after: number): JournalEntry[] {
    const { db, journalId } = this.#environment;
    const entries: JournalEntry[] = [];
    for (const { key, value } of db.journal.getRange({ start: after + 1, limit: PAGE })) {
      entries.push(Object.assign(decodeEntry(value), { cursor: encodeCursor(journalId, key) }));
    }
    return entries;
  }

  /** Until somebody may have written after `head`. */
  #sleep(head: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const look = setInterval(() => {
        this.#environment.freshen();
        if (readNumber(this.#environment.db, META.journalHead) !== head) done();
      }, this.#pollMs);
      look.unref();
      const done = (): void => {
        clearInterval(look);
        this.#sleeping.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#sleeping.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const done of this.#sleeping) done();
  }

  #attach(): void {
    this.#followers += 1;
    if (this.#followers > 1) return;
    this.#stopListening = this.#environment.writes.onCommit(() => this.#wake());
    try {
      this.#watcher = watch(this.#environment.dataFile, { persistent: false }, () => this.#wake());
      this.#watcher.on("error", () => this.#unwatch());
    } catch {
      // No watches left in this system, or none on this file system: the slow look carries it alone.
      this.#watcher = undefined;
    }
  }

  #detach(): void {
    this.#followers -= 1;
    if (this.#followers > 0) return;
    this.#stopListening?.();
    this.#unwatch();
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}

/** Entries a follower is given at once. */
const PAGE = 500;
