import type { Barrier } from "./barrier.ts";
import type { Clock } from "./clock.ts";
import type { JournalEntry } from "./journal.ts";
import type { SessionStore } from "./store.ts";

export interface FeedHooks {
  /** Every entry, in order per session, at least once. */
  entry(entry: JournalEntry): void;
  /** What was missed cannot be told: everything derived from the journal is in doubt. Called before `live` is true again. */
  doubt(): Promise<void>;
  /** The feed was lost or is back. */
  liveness(live: boolean): void;
  fault(error: unknown): void;
}

/**
 * Follows the store's journal and keeps the list of barriers. While it is not `live`, nothing derived from the journal
 * may be trusted.
 */
export class Feed {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly #hooks: FeedHooks;
  readonly #stop = new AbortController();
  readonly #cancels = new Set<() => void>();
  #live = false;
  #lostAt: number | undefined;
  #barriers: readonly Barrier[] = [];
  /** No barrier up to this sequence number is missing from `#barriers`. */
  #barriersThrough = 0;
  #reloads = 0;
  #reloading = 0;
  #cancelForget: () => void = () => {};
  #done: Promise<void> = Promise.resolve();

  constructor(store: SessionStore, clock: Clock, hooks: FeedHooks) {
    this.#store = store;
    this.#clock = clock;
    this.#hooks = hooks;
  }

  /** Resolves when the feed is live for the first time; rejects when the store refuses the first attempt. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#done = this.#follow(resolve, reject);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#cancelForget();
    for (const cancel of this.#cancels) cancel();
    await this.#done;
  }

  get live(): boolean {
    return this.#live;
  }

  /** The barriers that stand, where they are known without asking the store; some may be past their `until`. */
  get known(): readonly Barrier[] | undefined {
    return this.#live && this.#reloading === 0 ? this.#barriers : undefined;
  }

  /** As `known`, where none is missing that a store at the barrier sequence `seq` has. */
  knownThrough(seq: number): readonly Barrier[] | undefined {
    return seq <= this.#barriersThrough ? this.known : undefined;
  }

  /** When the feed was lost; absent while it is live. */
  get lostAt(): number | undefined {
    return this.#lostAt;
  }

  /** The barriers that stand: from memory while the feed is live, else from the store. */
  async barriers(): Promise<readonly Barrier[]> {
    if (this.#live && this.#reloading === 0) return this.#barriers;
    return this.#store.barriers(this.#clock.now());
  }

  /** Reads the barriers again; the newest read wins when several are under way. */
  async reload(): Promise<void> {
    const turn = ++this.#reloads;
    this.#reloading++;
    try {
      // The number first: what is raised between the two is in the list, and not counted yet.
      const { barrierSeq } = await this.#store.standing(undefined);
      const barriers = await this.#store.barriers(this.#clock.now());
      if (turn === this.#reloads) {
        this.#barriers = barriers;
        this.#barriersThrough = barrierSeq;
        this.#forgetInTime();
      }
    } finally {
      this.#reloading--;
    }
  }

  /** A barrier past its time costs every read a look; it goes when the next one is over. */
  #forgetInTime(): void {
    this.#cancelForget();
    const next = Math.min(...this.#barriers.map(({ until }) => until ?? Infinity));
    if (next === Infinity) return;
    const waitMs = Math.min(Math.max(next - this.#clock.now(), 0), LONGEST_TIMER_MS);
    this.#cancelForget = this.#clock.after(waitMs, () => {
      const now = this.#clock.now();
      this.#barriers = this.#barriers.filter(({ until }) => until === undefined || until > now);
      this.#forgetInTime();
    });
  }

  async #follow(started: () => void, failed: (error: unknown) => void): Promise<void> {
    const { signal } = this.#stop;
    let from = "now";
    let first = true;
    let waitMs = FIRST_RETRY_MS;
    while (!signal.aborted) {
      try {
        for await (const change of this.#store.changes(from, { signal })) {
          from = change.cursor;
          if (change.type === "entries") for (const entry of change.entries) this.#take(entry);
          if (change.type === "gap") this.#setLive(false);
          if (change.type === "live") {
            await this.reload();
            if (!first) await this.#hooks.doubt();
            this.#setLive(true);
            waitMs = FIRST_RETRY_MS;
            first = false;
            started();
          }
        }
      } catch (error) {
        if (first) {
          failed(error);
          return;
        }
        if (!signal.aborted) this.#hooks.fault(error);
      }
      this.#setLive(false);
      if (signal.aborted) return;
      await this.#sleep(waitMs);
      waitMs = Math.min(waitMs * 2, LAST_RETRY_MS);
    }
  }

  #take(entry: JournalEntry): void {
    if (entry.event === "barrier" || entry.event === "barrier-lifted") {
      this.reload().catch((error: unknown) => {
        // Without the barriers a lock could be overlooked; not being live sends every reader to the store.
        this.#setLive(false);
        this.#hooks.fault(error);
      });
    }
    this.#hooks.entry(entry);
  }

  #setLive(live: boolean): void {
    if (live) this.#lostAt = undefined;
    else this.#lostAt ??= this.#clock.now();
    if (this.#live === live) return;
    this.#live = live;
    this.#hooks.liveness(live);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, () => {
        this.#cancels.delete(wake);
        resolve();
      });
      const wake = (): void => {
        cancel();
        resolve();
      };
      this.#cancels.add(wake);
    });
  }
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;
/** What a timer of Node holds at most. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
