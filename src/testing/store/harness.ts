import type { Clock } from "../../kernel/clock.ts";
import type { Json } from "../../kernel/record.ts";
import type { SessionStore } from "../../kernel/store.ts";

/** What a store gives the suite so that it can be tried. See index.ts for a whole example. */
export interface StoreHarness {
  /** Names the tests: `memory`, `redis cluster`, … */
  readonly name: string;
  /** A place of its own with nothing in it: a folder, a key prefix, a schema. Each test takes one. */
  fresh(): Promise<StoreData>;
  /** Trials of each race; 10,000 unless given. Fewer only where a trial takes longer than a millisecond. */
  readonly trials?: number;
}

/** One place with sessions in it. */
export interface StoreData {
  /** A handle on this data: as many as wanted, each with a connection of its own where the store has such a thing. */
  open(options?: OpenOptions): Promise<SessionStore>;
  /** How another process opens the same data. Needed when the store's reach is `machine` or `network`. */
  readonly worker?: WorkerSpec;
  /** Makes the system below unreachable; the answer brings it back. Left out where nothing can be down. */
  outage?(): Promise<() => Promise<void>>;
  /** Takes the data away, after the suite has closed every handle it opened. */
  dispose(): Promise<void>;
}

export interface OpenOptions {
  /**
   * What the store takes for now: expiry of tickets, age of journal entries. Time limits towards the system below are
   * real time whatever this says.
   */
  readonly clock?: Clock;
  /** About how many journal entries are kept for followers. Trimming may come late, while writes go on. */
  readonly journalLimit?: number;
}

export interface WorkerSpec {
  /** URL of a module that exports `openStore(input: Json): Promise<SessionStore>`. */
  readonly module: string;
  /** Given to `openStore`: where the data is. */
  readonly input: Json;
}
