import { join } from "node:path";
import { HoldfastError } from "../kernel/index.ts";
import type { SessionLog, SessionStore } from "../kernel/index.ts";
import { embeddedLog } from "../store/embedded/log.ts";
import { lmdb } from "../store/lmdb/index.ts";
import { memory } from "../store/memory/index.ts";
import { memoryLog } from "../store/memory/log.ts";
import { nearCache } from "../store/near/index.ts";
import { postgres } from "../store/postgres/index.ts";
import { postgresLog } from "../store/postgres/log.ts";
import { redis } from "../store/redis/index.ts";
import { redisLog } from "../store/redis/log.ts";
import type { StoreConfig } from "./config.ts";

/** @throws HoldfastError `invalid-argument` when a store that needs an address has none. */
export function openStore(config: StoreConfig, data: string): SessionStore {
  const store = bare(config, data);
  const entries = config["near-cache"] ?? 100_000;
  return store.reach === "process" || entries === 0 ? store : nearCache(store, { maxEntries: entries });
}

/** Where streams live beside the sessions of that store. */
export function openStreams(config: StoreConfig, data: string): SessionLog {
  switch (config.kind) {
    case "memory":
      return memoryLog();
    case "lmdb":
      return embeddedLog({ path: join(config.path ?? data, "streams") });
    case "redis":
      return redisLog(addressed(config));
    case "postgres":
      return postgresLog(addressed(config));
  }
}

function bare(config: StoreConfig, data: string): SessionStore {
  switch (config.kind) {
    case "memory":
      return memory();
    case "lmdb":
      return lmdb({ path: config.path ?? data });
    case "redis":
      return redis(addressed(config));
    case "postgres":
      return postgres(addressed(config));
  }
}

function addressed({ kind, url }: StoreConfig): string {
  if (url === undefined)
    throw new HoldfastError(
      "invalid-argument",
      `store.url must say where ${kind} is, such as ${kind}://127.0.0.1.`,
    );
  return url;
}
