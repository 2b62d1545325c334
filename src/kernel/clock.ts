/** The only source of time the kernel and the stores have. Instants are milliseconds since the Unix epoch. */
export interface Clock {
  now(): number;
  /**
   * Calls `run` once after `ms`; the returned function cancels it. A waiting timer does not keep the process alive,
   * unless somebody waits for it (`awaited`).
   */
  after(ms: number, run: () => void, awaited?: boolean): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run, awaited = false) {
    const timer = setTimeout(run, ms);
    if (!awaited) timer.unref();
    return () => clearTimeout(timer);
  },
};

/** A clock that moves only when told to, for tests in virtual time. */
export class VirtualClock implements Clock {
  #now: number;
  #nextId = 0;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  constructor(startAt = 1_800_000_000_000) {
    this.#now = startAt;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#nextId++;
    this.#timers.set(id, { at: this.#now + ms, run });
    return () => this.#timers.delete(id);
  }

  /** Moves time on by `ms`, running each timer at its own instant, in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (;;) {
      let next: { id: number; at: number; run: () => void } | undefined;
      for (const [id, timer] of this.#timers) {
        if (timer.at <= until && (next === undefined || timer.at < next.at)) next = { id, ...timer };
      }
      if (next === undefined) break;
      this.#timers.delete(next.id);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
  }
}
