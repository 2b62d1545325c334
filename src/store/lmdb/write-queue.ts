import type { RootDatabase } from "lmdb";

import { HoldfastError } from "../../kernel/errors.ts";
import type { Ack } from "../../kernel/store.ts";

interface Job {
  readonly ack: Ack;
  /** Runs inside the write transaction; everything it writes is committed with the batch. */
  apply(): void;
  /** The batch is committed (and flushed, where that was asked for). */
  settle(): void;
  fail(error: unknown): void;
}

/**
 * Writes of one process, in batches: whatever is asked for while a batch waits for the write lock goes into it, so that
 * a commit is shared by all and a slow lock makes batches larger, not queues longer.
 */
export class WriteQueue {
  readonly #root: RootDatabase<string, string>;
  #waiting: Job[] = [];
  #running: Promise<void> = Promise.resolve();
  readonly #listeners = new Set<() => void>();
  /** Runs after each batch's jobs, in the same transaction: trimming, sweeping. */
  #upkeep: (() => void) | undefined;
  #committing = 0;
  #flushing = 0;
  batches = 0;
  jobs = 0;

  constructor(root: RootDatabase<string, string>) {
    this.#root = root;
  }

  set upkeep(run: () => void) {
    this.#upkeep = run;
  }

  /**
   * Runs `apply` in the next batch and answers what it returned once that is committed.
   * `apply` must decide before it writes: a batch is not undone for one of its jobs.
   * @throws HoldfastError `store-unavailable` when the write lock was not had in `timeoutMs` (nothing was written then),
   *   the commit failed, or it was not confirmed in `timeoutMs` more (it may have been written then, and the message says so).
   */
  run<T>(apply: () => T, ack: Ack, timeoutMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let outcome: { readonly value: T } | undefined;
      this.#waiting.push({
        ack,
        apply() {
          outcome = { value: apply() };
        },
        settle() {
          if (outcome !== undefined) resolve(outcome.value);
        },
        fail: (error) => reject(unavailable(error)),
      });
      if (this.#waiting.length > 1) return;
      const batch = this.#commitBatch(timeoutMs);
      this.#running = this.#running.then(() => batch);
    });
  }

  /** Calls `heard` after every batch of this process. The answer stops it. */
  onCommit(heard: () => void): () => void {
    this.#listeners.add(heard);
    return () => this.#listeners.delete(heard);
  }

  /** What a thread does for us now: it waits for the write lock or has it; or it needs us no more and flushes. */
  get underWay(): "commit" | "flush" | undefined {
    if (this.#committing > 0) return "commit";
    return this.#flushing > 0 ? "flush" : undefined;
  }

  /** When all that was asked for so far is done. */
  async idle(): Promise<void> {
    while (this.#waiting.length > 0) await this.#running;
    await this.#running;
  }

  async #commitBatch(timeoutMs: number): Promise<void> {
    const tooLate = setTimeout(() => {
      const error = new HoldfastError(
        "store-unavailable",
        "Another process has held the store's write lock for too long.",
      );
      for (const job of this.#waiting.splice(0)) job.fail(error);
    }, timeoutMs);
    let jobs: Job[] = [];
    // LMDB's writers also wait for each other's flush, and a process that stands still in the middle of one may never end it.
    let unconfirmed: NodeJS.Timeout | undefined;
    this.#committing += 1;
    try {
      const committed = this.#root.transaction(() => {
        clearTimeout(tooLate);
        jobs = this.#waiting;
        this.#waiting = [];
        unconfirmed = setTimeout(() => giveUpOn(jobs), timeoutMs);
        for (const job of jobs) attempt(job);
        if (jobs.length > 0) this.#keepUp();
      });
      // Asked for now, because it stands for the transaction begun last.
      const flushed = this.#root.flushed.then(
        () => undefined,
        (error: unknown) => unavailable(error),
      );
      this.#flushing += 1;
      void flushed.then(() => (this.#flushing -= 1));
      await committed;
      this.batches += 1;
      this.jobs += jobs.length;
      for (const job of jobs) if (job.ack === "visible") job.settle();
      for (const heard of this.#listeners) heard();
      if (!jobs.some((job) => job.ack === "durable")) return;
      const failure = await flushed;
      for (const job of jobs) {
        if (job.ack !== "durable") continue;
        if (failure === undefined) job.settle();
        else job.fail(failure);
      }
    } catch (error) {
      clearTimeout(tooLate);
      const lost = jobs.length > 0 ? jobs : this.#waiting.splice(0);
      for (const job of lost) job.fail(error);
    } finally {
      this.#committing -= 1;
      clearTimeout(unconfirmed);
    }
  }

  /** What fails here fails again with the next batch; the writes that it came along with are none the worse for it. */
  #keepUp(): void {
    try {
      this.#upkeep?.();
    } catch (error) {
      process.emitWarning(
        `The session store's journal could not be trimmed: ${String(error)}`,
        "HoldfastWarning",
      );
    }
  }
}

/** One job's mistake is its own; the others of the batch go on. */
function attempt(job: Job): void {
  try {
    job.apply();
  } catch (error) {
    job.fail(error);
  }
}

/** Those that were settled before are none the worse for it. */
function giveUpOn(jobs: readonly Job[]): void {
  const error = new HoldfastError(
    "store-unavailable",
    "Another process keeps the store from flushing to disk. What was asked for may have been written all the same.",
  );
  for (const job of jobs) job.fail(error);
}

function unavailable(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new HoldfastError("store-unavailable", `LMDB could not write: ${text}`, { cause: error });
}
