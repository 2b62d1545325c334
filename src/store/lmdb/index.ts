import type { LmdbOptions } from "./store.ts";
import { LmdbStore } from "./store.ts";

/**
 * Sessions in a folder of this machine, shared by its processes: the store to begin with.
 * @throws HoldfastError `store-unavailable` when the folder cannot be opened, `store-corrupt` when it holds something else.
 */
export function lmdb(options: LmdbOptions): LmdbStore {
  return new LmdbStore(options);
}

export type { LmdbOptions, LmdbStore };
