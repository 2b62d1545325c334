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
  /** In the order of arrival, which is that of their deadlines. */
  #queue: Waiting<Item, Outcome>[] = [];
  /**
   * What is under way in each lane. Neither a set nor a list of everything unsettled: those keep what is done with from
   * an early collection (a set's old tables refer to its newer ones), which costs more than all the rest.
   */
  readonly #lanes: (readonly Waiting<Item, Outcome>[])[];
  #busy = 0;
  #scheduled = false;
  /** One for everything that waits; it rarely finds anything. */
  #timer: NodeJS.Timeout | undefined;
  #closed: Error | undefined;
  items = 0;
  batches = 0;

  constructor(options: CoalescerOptions<Item, Outcome>) {
    this.#options = options;
    this.#lanes = Array.from({ length: options.lanes }, () => []);
  }

  do(item: Item): Promise<Outcome> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + this.#options.timeoutMs;
      this.items++;
      this.#queue.push({ item, deadline, settled: false, resolve, reject });
      this.#timer ??= setTimeout(this.#expire, this.#options.timeoutMs);
      this.#schedule();
    });
  }

  /** Everything that waits is refused with `error`, and so is all that comes. */
  close(error: Error): void {
    this.#closed = error;
    clearTimeout(this.#timer);
    for (const batch of [this.#queue, ...this.#lanes]) refuse(batch, error);
    this.#queue = [];
  }

  #schedule(): void {
    if (this.#scheduled || this.#busy >= this.#options.lanes) return;
    this.#scheduled = true;
    setImmediate(this.#start);
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    while (this.#queue.length > 0 && this.#busy < this.#options.lanes) {
      void this.#flush(this.#nextBatch());
    }
  };

  #nextBatch(): Waiting<Item, Outcome>[] {
    const { identity, maxBatch } = this.#options;
    const waiting = this.#queue;
    if (identity === undefined) {
      this.#queue = waiting.splice(maxBatch);
      return waiting;
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

  async #flush(batch: readonly Waiting<Item, Outcome>[]): Promise<void> {
    const last = batch.at(-1);
    if (last === undefined) return;
    const lane = this.#lanes.findIndex((running) => running.length === 0);
    this.#lanes[lane] = batch;
    this.#busy++;
    this.batches++;
    try {
      const timeoutMs = Math.max(1, last.deadline - performance.now());
      const outcomes = await this.#options.run(
        batch.map((one) => one.item),
        timeoutMs,
      );
      for (let i = 0; i < batch.length; i++) {
        const one = batch[i];
        if (one === undefined || one.settled) continue;
        one.settled = true;
        // `run` answers as many outcomes as it had items.
        one.resolve(outcomes[i] as Outcome);
      }
    } catch (error) {
      refuse(batch, error);
    } finally {
      this.#lanes[lane] = [];
      this.#busy--;
      if (this.#queue.length > 0) this.#schedule();
    }
  }

  readonly #expire = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    let next = Infinity;
    for (const batch of [this.#queue, ...this.#lanes]) {
      for (const one of batch) {
        if (one.settled) continue;
        if (one.deadline > now) next = Math.min(next, one.deadline);
        else refuse([one], late(this.#options.timeoutMs));
      }
    }
    this.#queue = this.#queue.filter((one) => !one.settled);
    if (next < Infinity) this.#timer = setTimeout(this.#expire, Math.max(1, next - now));
  };
}

interface Waiting<Item, Outcome> {
  readonly item: Item;
  readonly deadline: number;
  settled: boolean;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

function refuse<Item, Outcome>(all: readonly Waiting<Item, Outcome>[], error: unknown): void {
  for (const one of all) {
    if (one.settled) continue;
    one.settled = true;
    one.reject(error);
  }
}

function late(timeoutMs: number): HoldfastError {
  return new HoldfastError("store-unavailable", `PostgreSQL did not answer within ${timeoutMs} ms.`, {
    detail: { timeoutMs },
  });
}
