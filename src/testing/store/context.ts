import { test } from "node:test";
import type { TestContext } from "node:test";

import { isHoldfastError } from "../../kernel/errors.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { seededRandom } from "./concurrency.ts";
import type { OpenOptions, StoreData, StoreHarness } from "./harness.ts";
import { WorkerProcess } from "./worker-process.ts";

/** What a case of the suite works with; everything it opens is closed after it, whatever happened. */
export interface CaseContext {
  readonly t: TestContext;
  readonly data: StoreData;
  readonly trials: number;
  open(options?: OpenOptions): Promise<SessionStore>;
  /** `count` processes that have the same data open. */
  workers(count: number): Promise<WorkerProcess[]>;
  /** Ends with the case: for followers. */
  readonly signal: AbortSignal;
}

/** Registers one case with data of its own. */
export function storeCase(
  harness: StoreHarness,
  title: string,
  run: (context: CaseContext) => Promise<void>,
): void {
  void test(`${harness.name}: ${title}`, { timeout: 300_000 }, async (t) => {
    const data = await harness.fresh();
    const stores: SessionStore[] = [];
    const processes: WorkerProcess[] = [];
    const over = new AbortController();
    try {
      await run({
        t,
        data,
        trials: harness.trials ?? 10_000,
        signal: over.signal,
        async open(options) {
          const store = await data.open(options);
          stores.push(store);
          return store;
        },
        async workers(count) {
          const spec = data.worker;
          if (spec === undefined) throw new Error("a store that reaches beyond its process needs `worker`");
          const started = Array.from({ length: count }, () => new WorkerProcess(spec));
          processes.push(...started);
          await Promise.all(started.map((one) => one.ready));
          return started;
        },
      });
    } finally {
      over.abort();
      await Promise.all(processes.map((one) => one.kill()));
      await Promise.all(stores.map((one) => one.close()));
      await data.dispose();
    }
  });
}

/** Waits until `probe` says something; for what becomes true by itself. @throws Error after a minute. */
export async function until<T>(
  what: string,
  probe: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const giveUp = Date.now() + 60_000;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (Date.now() > giveUp) throw new Error(`waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** The code a call is refused with, whether it throws or rejects; `undefined` when it answers. */
export async function refusal(call: () => unknown): Promise<string | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    if (isHoldfastError(error)) return error.code;
    throw error;
  }
}

/** Random numbers, so that a failing run can be had again: the seed is printed. */
export function seeded(t: TestContext): () => number {
  const seed = Number(process.env["HOLDFAST_SEED"] ?? Date.now() % 2 ** 31);
  t.diagnostic(`seed ${seed} (HOLDFAST_SEED repeats it)`);
  return seededRandom(seed);
}
