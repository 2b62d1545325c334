import type { Log } from "./log.ts";

/** Faults in the background come in swarms when a store is down: each kind is logged once in a while, with a count. */
export class FaultLog {
  readonly #log: Log;
  readonly #recent = new Map<string, { at: number; more: number }>();

  constructor(log: Log) {
    this.#log = log;
  }

  report(error: unknown): void {
    const key = String(error);
    const now = performance.now();
    const before = this.#recent.get(key);
    if (before !== undefined && now - before.at < EVERY_MS) {
      before.more++;
      return;
    }
    if (this.#recent.size >= KEPT) this.#recent.clear();
    this.#recent.set(key, { at: now, more: 0 });
    this.#log.warn(
      { err: error, ...(before !== undefined && { since: before.more }) },
      "a fault; it is being retried",
    );
  }
}

const EVERY_MS = 10_000;
const KEPT = 100;
