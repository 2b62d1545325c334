import { HoldfastError } from "../../kernel/index.ts";

export interface CoalescerOptions<Item, Outcome> {
  /** One statement for many items; its outcomes are in their order. */
  readonly run: (items: readonly Item[], timeoutMs: number) => Promise<readonly Outcome[]>;
  /** Items of the same identity are never in one batch: the later ones wait for the next. */
  readonly identity?: (item: Item) => string;
  readonly maxBatch: number;
  /** Batches under way at once. */
  readonly lanes: number;
  readonly timeoutMs: number;
}

/**
 * Makes one statement of all that is asked for in one turn of the event loop, and of all that gathers while the
 * statements before it are under way. Each item has its own outcome, and its own time limit from when it was asked for.
 */
export class Coalescer<Item, Outcome> {
  readonly #options: CoalescerOptions<Item, Outcome>;
  #queue: Waiting<Item, Outcome>[] = [];
  #scheduled = false;
  #busy = 0;
  /** Everything not yet settled, by deadline: that is the order of arrival. */
  #unsettled: Waiting<Item, Outcome>[] = [];
  #timer: NodeJS.Timeout | undefined;
  #closed: Error | undefined;
  items = 0;
  batches = 0;

  constructor(options: CoalescerOptions<Item, Outcome>) {
    this.#options = options;
  }

  do(item: Item): Promise<Outcome> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + this.#options.timeoutMs;
      const waiting = { item, deadline, settled: false, resolve, reject };
      this.items++;
      this.#queue.push(waiting);
      this.#unsettled.push(waiting);
      this.#timer ??= setTimeout(() => this.#expire(), this.#options.timeoutMs);
      this.#schedule();
    });
  }

  /** Everything that waits is refused with `error`, and so is all that comes. */
  close(error: Error): void {
    this.#closed = error;
    clearTimeout(this.#timer);
    for (const waiting of this.#unsettled) settle(waiting, () => waiting.reject(error));
    this.#unsettled = [];
    this.#queue = [];
  }

  #schedule(): void {
    if (this.#scheduled || this.#busy >= this.#options.lanes) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#queue.length > 0 && this.#busy < this.#options.lanes) void this.#flush(this.#nextBatch());
    });
  }

  #nextBatch(): Waiting<Item, Outcome>[] {
    const { identity, maxBatch } = this.#options;
    const waiting = this.#queue.filter((one) => !one.settled);
    if (identity === undefined) {
      this.#queue = waiting.slice(maxBatch);
      return waiting.slice(0, maxBatch);
    }
    const batch: Waiting<Item, Outcome>[] = [];
    const names = new Set<string>();
    this.#queue = [];
    for (const one of waiting) {
      const name = identity(one.item);
      if (batch.length === maxBatch || names.has(name)) this.#queue.push(one);
      else {
        names.add(name);
        batch.push(one);
      }
    }
    return batch;
  }

  async #flush(batch: Waiting<Item, Outcome>[]): Promise<void> {
    const last = batch.at(-1);
    if (last === undefined) return;
    this.#busy++;
    this.batches++;
    try {
      const timeoutMs = Math.max(1, last.deadline - performance.now());
      const outcomes = await this.#options.run(
        batch.map((one) => one.item),
        timeoutMs,
      );
      for (const [i, one] of batch.entries()) {
        // `run` answers as many outcomes as it had items.
        settle(one, () => one.resolve(outcomes[i] as Outcome));
      }
    } catch (error) {
      for (const one of batch) settle(one, () => one.reject(error));
    } finally {
      this.#busy--;
      if (this.#queue.length > 0) this.#schedule();
    }
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    let at = 0;
    for (; at < this.#unsettled.length; at++) {
      const one = this.#unsettled[at];
      if (one === undefined || (!one.settled && one.deadline > now)) break;
      settle(one, () => one.reject(late(this.#options.timeoutMs)));
    }
    this.#unsettled.splice(0, at);
    const next = this.#unsettled[0];
    if (next !== undefined) this.#timer = setTimeout(() => this.#expire(), Math.max(1, next.deadline - now));
  }
}

interface Waiting<Item, Outcome> {
  readonly item: Item;
  readonly deadline: number;
  settled: boolean;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

function settle<Item, Outcome>(waiting: Waiting<Item, Outcome>, how: () => void): void {
  if (waiting.settled) return;
  waiting.settled = true;
  how();
}

function late(timeoutMs: number): HoldfastError {
  return new HoldfastError("store-unavailable", `PostgreSQL did not answer within ${timeoutMs} ms.`, {
    detail: { timeoutMs },
  });
}
