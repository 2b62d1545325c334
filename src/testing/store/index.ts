/**
 * The suite every session store passes: the eleven guarantees and every method of `SessionStore`, as node:test cases.
 * A store of your own proves itself with it in a test file like this one:
 *
 * ```ts
 * import { storeConformance } from "holdfast/testing/store";
 *
 * storeConformance({
 *   name: "my store",
 *   async fresh() {
 *     const folder = await mkdtemp(join(tmpdir(), "my-store-"));   // a place of its own, with nothing in it
 *     return {
 *       open: (options) => openMyStore({ folder, ...options }),    // again and again: several handles on one place
 *       // How another process opens the same place; leave it out when `reach` is "process".
 *       worker: { module: new URL("./my-worker.js", import.meta.url).href, input: { folder } },
 *       // Makes the system below unreachable, and gives what brings it back; leave it out when nothing can be down.
 *       outage: async () => { await stopServer(); return startServer; },
 *       dispose: () => rm(folder, { recursive: true }),
 *     };
 *   },
 * });
 * ```
 * with `my-worker.js` exporting `openStore(input)`: the suite starts processes that import it, race, count, take, and are
 * killed with -9. Every case takes a fresh place and closes what it opened. Random cases print their seed;
 * `HOLDFAST_SEED` repeats one. `trials` sets how often each race is run (10,000 unless given).
 *
 * What the store does not do: refuse a session that is past its deadline. It brings it up in `due` and hands it out as it
 * is; the kernel refuses it when it is read. Tickets and barriers do expire in the store.
 */
import { failureCases } from "./failure-cases.ts";
import { feedCases } from "./feed-cases.ts";
import { governanceCases } from "./governance-cases.ts";
import type { StoreHarness } from "./harness.ts";
import { listCases } from "./list-cases.ts";
import { processCases } from "./process-cases.ts";
import { raceCases } from "./race-cases.ts";
import { recallCases } from "./recall-cases.ts";
import { recordCases } from "./record-cases.ts";
import { ticketCases } from "./ticket-cases.ts";

/** Registers every case of the suite for one store. */
export function storeConformance(harness: StoreHarness): void {
  recordCases(harness);
  recallCases(harness);
  listCases(harness);
  governanceCases(harness);
  ticketCases(harness);
  feedCases(harness);
  failureCases(harness);
  raceCases(harness);
  processCases(harness);
}

export type { AgreementOptions } from "./agreement.ts";
export { storeDisagreements } from "./agreement.ts";
export { storeCase } from "./context.ts";
export type { CaseContext } from "./context.ts";
export type { OpenOptions, StoreData, StoreHarness, WorkerSpec } from "./harness.ts";
export { killOneWriter } from "./process-cases.ts";
export { end, ended, entryOf, following, put, sampleKey, sampleRecord, step } from "./samples.ts";
