/**
 * The suite every session log passes, as node:test cases:
 *
 * ```ts
 * import { logConformance } from "holdfast/testing/log";
 *
 * logConformance({
 *   name: "my log",
 *   strongest: "durable",
 *   async fresh() {
 *     const folder = await mkdtemp(join(tmpdir(), "my-log-"));
 *     return {
 *       open: async () => openMyLog(folder),
 *       worker: { module: new URL("./my-worker.js", import.meta.url).href, input: { folder } },
 *       dispose: () => rm(folder, { recursive: true }),
 *     };
 *   },
 * });
 * ```
 * with `my-worker.js` exporting `openLog(input)`. Workers append, are killed with -9, and are taken over while they write.
 */
import { processCases } from "./process-cases.ts";
import { streamCases } from "./stream-cases.ts";
import type { LogHarness } from "./harness.ts";

/** Registers every case of the suite for one log. */
export function logConformance(harness: LogHarness): void {
  streamCases(harness);
  processCases(harness);
}

export type { LogData, LogHarness, LogWorkerSpec } from "./harness.ts";
