import type { CreateOutcome, JournalDraft, SessionRecord, UpdateOutcome } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import type { CreateItem, UpdateItem } from "./batches.ts";
import { appendValues, createValues, purgeValues, updateValues } from "./batches.ts";
import type { PostgresStatement } from "./client.ts";
import { listIn, prepared } from "./client.ts";
import { Coalescer } from "./coalescer.ts";
import type { Database } from "./database.ts";
import type { Settings } from "./options.ts";
import { inOrder } from "./sorted.ts";

type Prepared = (values: unknown[]) => PostgresStatement;

export class Writes {
  readonly #database: Database;
  readonly #settings: Settings;
  /** Told of every committed batch with journal entries. */
  readonly #wrote: (entries: number) => void;
  readonly #creates: Coalescer<CreateItem, CreateOutcome>;
  readonly #updates: Coalescer<UpdateItem, UpdateOutcome>;
  readonly #purges: Coalescer<SessionRecord, boolean>;
  readonly #appends: Coalescer<readonly JournalDraft[], void>;
  readonly #create: Prepared;
  readonly #update: Prepared;
  readonly #purge: Prepared;
  readonly #append: Prepared;

  constructor(database: Database, settings: Settings, wrote: (entries: number) => void) {
    this.#database = database;
    this.#settings = settings;
    this.#wrote = wrote;
    const { timeoutMs, maxBatch } = settings;
    const S = `"${settings.schema}"`;
    this.#create = prepared(`select ${S}.create_sessions(${places(17)}) as outcomes`);
    this.#update = prepared(`select ${S}.update_sessions(${places(18)}) as outcomes`);
    this.#purge = prepared(`select ${S}.purge_sessions(${places(7)}) as outcomes`);
    this.#append = prepared(`select ${S}.append_entries(${places(4)})`);
    this.#creates = new Coalescer({
      run: (items, ms) => this.#createAll(items, ms),
      identity: ({ record }) => record.handle,
      maxBatch,
      lanes: LANES,
      timeoutMs,
    });
    // Of two updates of one version in one batch, both would be told that they had won.
    this.#updates = new Coalescer({
      run: (items, ms) => this.#updateAll(items, ms),
      identity: ({ next }) => next.handle,
      maxBatch,
      lanes: LANES,
      timeoutMs,
    });
    this.#purges = new Coalescer({
      run: (items, ms) => this.#purgeAll(items, ms),
      identity: (record) => record.handle,
      maxBatch,
      lanes: 1,
      timeoutMs,
    });
    // One lane: what is appended after an acknowledgement, or before it, stays in its order.
    this.#appends = new Coalescer({
      run: (items, ms) => this.#appendAll(items, ms),
      maxBatch,
      lanes: 1,
      timeoutMs,
    });
  }

  create(item: CreateItem): Promise<CreateOutcome> {
    return this.#creates.do(item);
  }

  update(item: UpdateItem): Promise<UpdateOutcome> {
    return this.#updates.do(item);
  }

  purge(record: SessionRecord): Promise<boolean> {
    return this.#purges.do(record);
  }

  append(entries: readonly JournalDraft[]): Promise<void> {
    return entries.length === 0 ? Promise.resolve() : this.#appends.do(entries);
  }

  stats(): Readonly<Record<string, number>> {
    return {
      creates: this.#creates.items,
      createBatches: this.#creates.batches,
      updates: this.#updates.items,
      updateBatches: this.#updates.batches,
    };
  }

  close(error: Error): void {
    for (const one of [this.#creates, this.#updates, this.#purges, this.#appends]) one.close(error);
  }

  async #createAll(items: readonly CreateItem[], ms: number): Promise<readonly CreateOutcome[]> {
    const outcomes = await inOrder(
      items,
      ({ record }) => record.handle,
      (sorted) =>
        this.#outcomes(
          this.#create([...createValues(sorted), this.#now(), this.#flush(sorted), wait(ms)]),
          ms,
          isCreateOutcome,
        ),
    );
    this.#wrote(entriesOf(items, outcomes, "created"));
    return outcomes;
  }

  async #updateAll(items: readonly UpdateItem[], ms: number): Promise<readonly UpdateOutcome[]> {
    const outcomes = await inOrder(
      items,
      ({ next }) => next.handle,
      (sorted) =>
        this.#outcomes(
          this.#update([...updateValues(sorted), this.#now(), this.#flush(sorted), wait(ms)]),
          ms,
          isUpdateOutcome,
        ),
    );
    this.#wrote(entriesOf(items, outcomes, "updated"));
    return outcomes;
  }

  #purgeAll(records: readonly SessionRecord[], ms: number): Promise<readonly boolean[]> {
    return inOrder(
      records,
      (record) => record.handle,
      (sorted) => this.#outcomes(this.#purge([...purgeValues(sorted), wait(ms)]), ms, isBoolean),
    );
  }

  async #appendAll(batches: readonly (readonly JournalDraft[])[], ms: number): Promise<readonly void[]> {
    await this.#database.run(this.#append([...appendValues(batches), this.#now(), wait(ms)]), ms);
    this.#wrote(batches.flat().length);
    return batches.map(() => undefined);
  }

  async #outcomes<T>(
    statement: PostgresStatement,
    ms: number,
    isOutcome: (value: unknown) => value is T,
  ): Promise<readonly T[]> {
    const [row] = await this.#database.run(statement, ms);
    const outcomes = row === undefined ? [] : listIn(row, "outcomes");
    return outcomes.map((outcome) => {
      if (isOutcome(outcome)) return outcome;
      throw new HoldfastError(
        "store-corrupt",
        "PostgreSQL answered a write with no outcome Holdfast knows.",
        {
          detail: { outcome },
        },
      );
    });
  }

  #now(): number {
    return this.#settings.clock.now();
  }

  #flush(items: readonly { readonly durable: boolean }[]): boolean {
    return this.#settings.flushVisible || items.some((item) => item.durable);
  }
}

/** Statements of one kind under way at once. */
const LANES = 2;

/** How long a write may wait for another's lock: less than its caller waits for it, so that it ends by itself. */
export function wait(timeoutMs: number): number {
  return Math.max(1, Math.floor(timeoutMs * 0.9));
}

export function places(count: number): string {
  return Array.from({ length: count }, (_, i) => `$${i + 1}`).join(", ");
}

function entriesOf(
  items: readonly { readonly entries: readonly JournalDraft[] }[],
  outcomes: readonly string[],
  done: string,
): number {
  return items.reduce((sum, { entries }, i) => (outcomes[i] === done ? sum + entries.length : sum), 0);
}

function isCreateOutcome(value: unknown): value is CreateOutcome {
  return value === "created" || value === "exists" || value === "stale-standing";
}

function isUpdateOutcome(value: unknown): value is UpdateOutcome {
  return value === "updated" || value === "conflict" || value === "absent";
}

function isBoolean(value: unknown): value is boolean {
  return typeof value === "boolean";
}
