import { mkdirSync } from "node:fs";

import type { SessionStore } from "../kernel/index.ts";
import { lmdb } from "../store/lmdb/index.ts";
import { memory } from "../store/memory/index.ts";
import { nearCache } from "../store/near/index.ts";
import { postgres } from "../store/postgres/index.ts";
import { redis } from "../store/redis/index.ts";
import type { Span, StoreConfig } from "./config/index.ts";
import { spanMs } from "./config/index.ts";

/** The store a configuration names, with a near cache in front where others can write to it too. */
export function openStore(config: StoreConfig, data: string): SessionStore {
  const store = bareStore(config, data);
  if (store.reach === "process" || config.nearCache === false) return store;
  return nearCache(store, config.nearCache === undefined ? {} : { maxEntries: config.nearCache });
}

function bareStore(config: StoreConfig, data: string): SessionStore {
  const timeout = timeoutOf(config.timeout);
  switch (config.kind) {
    case "memory":
      return memory();
    case "lmdb": {
      const path = config.path ?? data;
      mkdirSync(path, { recursive: true, mode: 0o700 });
      return lmdb({ path, ...timeout });
    }
    case "redis":
      return redis(config.url, { ...timeout, ...(config.prefix !== undefined && { prefix: config.prefix }) });
    case "postgres": {
      const { schema, connections, migrate } = config;
      return postgres(config.url, {
        ...timeout,
        ...(schema !== undefined && { schema }),
        ...(connections !== undefined && { connections }),
        ...(migrate !== undefined && { migrate }),
      });
    }
  }
}

function timeoutOf(span: Span | undefined): { timeoutMs?: number } {
  return span === undefined ? {} : { timeoutMs: spanMs(span) };
}
