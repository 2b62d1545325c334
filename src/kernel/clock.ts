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
  /** By instant, then in the order they were set; those cancelled are passed over when their turn comes. */
  readonly #queue: { at: number; id: number }[] = [];

  constructor(startAt = 1_800_000_000_000) {
    this.#now = startAt;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const id = this.#nextId++;
    const at = this.#now + ms;
    this.#timers.set(id, { at, run });
    rise(this.#queue, { at, id });
    return () => this.#timers.delete(id);
  }

  /** Moves time on by `ms`, running each timer at its own instant, in order. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (let next = this.#queue[0]; next !== undefined && next.at <= until; next = this.#queue[0]) {
      sink(this.#queue);
      const timer = this.#timers.get(next.id);
      if (timer === undefined) continue;
      this.#timers.delete(next.id);
      this.#now = Math.max(this.#now, next.at);
      timer.run();
    }
    this.#now = until;
  }
}

interface Turn {
  readonly at: number;
  readonly id: number;
}

function isBefore(a: Turn, b: Turn): boolean {
  return a.at < b.at || (a.at === b.at && a.id < b.id);
}

/** Adds to a binary heap. */
function rise(heap: Turn[], turn: Turn): void {
  let at = heap.length;
  for (let parent = (at - 1) >> 1; at > 0; parent = (at - 1) >> 1) {
    const above = heap[parent];
    if (above === undefined || isBefore(above, turn)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = turn;
}

/** Takes the first off a binary heap. */
function sink(heap: Turn[]): void {
  const turn = heap.pop();
  if (turn === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    const below =
      right !== undefined && left !== undefined && isBefore(right, left) ? 2 * at + 2 : 2 * at + 1;
    const child = heap[below];
    if (child === undefined || isBefore(turn, child)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = turn;
}
