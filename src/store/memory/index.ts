import type { MemoryOptions } from "./store.ts";
import { MemoryStore } from "./store.ts";

/** Sessions in this process: for tests, for development, and as the reference of what a store does. */
export function memory(options: MemoryOptions = {}): MemoryStore {
  return new MemoryStore(options);
}

export type { MemoryOptions, MemoryStore };
