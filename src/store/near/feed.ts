import type { Change, Clock, JournalEntry, SessionStore } from "../../kernel/index.ts";

export interface FeedListener {
  /** All that is read from the store from here on is at least as new as what the feed has told. */
  live(): void;
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
  losses = 0;

  constructor(store: SessionStore, clock: Clock, listener: FeedListener) {
    this.#store = store;
    this.#clock = clock;
    this.#listener = listener;
    this.#subscribe();
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
    const stop = (): void => subscription.abort();
    this.#closing.signal.addEventListener("abort", stop);
    try {
      for await (const change of this.#store.changes("now", { signal: subscription.signal })) {
        if (this.#closing.signal.aborted || change.type === "gap") return;
        this.#hear(change);
      }
    } finally {
      subscription.abort();
      this.#closing.signal.removeEventListener("abort", stop);
    }
  }

  #hear(change: Exclude<Change, { type: "gap" }>): void {
    if (change.type === "entries") {
      this.#listener.entries(change.entries);
      return;
    }
    this.#retryMs = FIRST_RETRY_MS;
    this.#listener.live();
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
