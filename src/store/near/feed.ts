import type { Change, Clock, Following, JournalEntry, SessionStore } from "../../kernel/index.ts";

export interface FeedListener {
  /** All that was committed before `since` is in the store, and what came later has been told or will be. */
  live(since: number): void;
  entries(entries: readonly JournalEntry[]): void;
  /** Nothing derived from the store can be trusted until `live` is called again. */
  lost(): void;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 5_000;

/** Follows the store's journal for `listener`, and takes it up again, ever more slowly, whenever it is lost. */
export class Feed {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #listener: FeedListener;
  readonly #closing = new AbortController();
  #cancelRetry: (() => void) | undefined;
  #retryMs = FIRST_RETRY_MS;
  #subscription: Promise<void> = Promise.resolve();
  #following: Following | undefined;
  losses = 0;

  constructor(store: SessionStore, clock: Clock, listener: FeedListener) {
    this.#store = store;
    this.#clock = clock;
    this.#listener = listener;
    this.#subscribe();
  }

  /** Resolves when the listener has heard all that was committed before this call; rejects when it is lost first. */
  caughtUp(): Promise<void> {
    return this.#following?.caughtUp() ?? Promise.reject(new Error("The change feed is lost."));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#cancelRetry?.();
    await this.#subscription;
  }

  #subscribe(): void {
    this.#subscription = this.#follow().then(
      () => this.#resubscribe(),
      // Whatever the reason is, the answer is the same: nothing is served from memory until the feed is back.
      () => this.#resubscribe(),
    );
  }

  /** Resolves or rejects when the feed has to be taken up again. A gap is a loss: what fell into it is unknown. */
  async #follow(): Promise<void> {
    const subscription = new AbortController();
    const since = this.#clock.now();
    const stop = (): void => subscription.abort();
    this.#closing.signal.addEventListener("abort", stop);
    try {
      this.#following = this.#store.changes("now", { signal: subscription.signal });
      for await (const change of this.#following) {
        if (this.#closing.signal.aborted || change.type === "gap") return;
        this.#hear(change, since);
      }
    } finally {
      this.#following = undefined;
      subscription.abort();
      this.#closing.signal.removeEventListener("abort", stop);
    }
  }

  #hear(change: Exclude<Change, { type: "gap" }>, since: number): void {
    if (change.type === "entries") {
      this.#listener.entries(change.entries);
      return;
    }
    this.#retryMs = FIRST_RETRY_MS;
    this.#listener.live(since);
  }

  #resubscribe(): void {
    this.losses++;
    this.#listener.lost();
    if (this.#closing.signal.aborted) return;
    // Spread over half the span, so that a fleet does not come back in one wave.
    const delay = this.#retryMs * (0.5 + Math.random() / 2);
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
    this.#cancelRetry = this.#clock.after(delay, () => this.#subscribe());
  }
}
