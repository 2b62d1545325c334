import type { Change } from "./journal.ts";

/** What a store's `changes` answers. */
export interface Following extends AsyncIterable<Change> {
  /**
   * Has the journal looked into now, whatever would have woken its follower later. Resolves when everything that was
   * committed before this call has been iterated over; rejects when the iteration ends before that. Nothing happens
   * while nobody iterates.
   */
  caughtUp(): Promise<void>;
}

/** For stores: makes a `Following` of a generator that takes `looks` into account. */
export function following(run: (looks: Looks) => AsyncGenerator<Change>): Following {
  const looks = new Looks();
  return {
    caughtUp: () => looks.ask(),
    async *[Symbol.asyncIterator]() {
      try {
        yield* run(looks);
      } finally {
        looks.end();
      }
    },
  };
}

/** The looks into the journal that one follower was asked for and has not had. */
export class Looks {
  #asked: Look[] = [];
  #taken: Look[] = [];
  #rouse: () => void = () => {};
  #ended = false;

  /** How to wake the follower. */
  set rouse(rouse: () => void) {
    this.#rouse = rouse;
    if (this.#asked.length > 0) rouse();
  }

  ask(): Promise<void> {
    if (this.#ended) return Promise.reject(new Error(OVER));
    return new Promise((resolve, reject) => {
      this.#asked.push({ resolve, reject });
      this.#rouse();
    });
  }

  get wanted(): boolean {
    return this.#asked.length + this.#taken.length > 0;
  }

  /** The follower begins to look: what it finds is new enough for all who have asked so far. */
  begin(): void {
    if (this.#asked.length === 0) return;
    this.#taken.push(...this.#asked);
    this.#asked = [];
  }

  /** All that was there when it began to look has been told. */
  done(): void {
    if (this.#taken.length === 0) return;
    const taken = this.#taken;
    this.#taken = [];
    for (const look of taken) look.resolve();
  }

  end(): void {
    this.#ended = true;
    for (const look of [...this.#taken, ...this.#asked]) look.reject(new Error(OVER));
    this.#taken = [];
    this.#asked = [];
  }
}

interface Look {
  resolve(): void;
  reject(why: Error): void;
}

const OVER = "The change feed is not followed any more.";
