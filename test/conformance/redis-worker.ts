import { createClient } from "redis";

import type { Json } from "../../src/kernel/record.ts";
import type { SessionStore } from "../../src/kernel/store.ts";
import { redis } from "../../src/store/redis/index.ts";
import type { RedisStoreOptions, RedisTarget } from "../../src/store/redis/index.ts";

/** Where a store is, as one process tells another. */
export type Place =
  | { readonly kind: "ioredis"; readonly path: string; readonly prefix: string }
  | { readonly kind: "node-redis"; readonly path: string; readonly prefix: string }
  | { readonly kind: "cluster"; readonly ports: readonly number[]; readonly prefix: string };

export async function openStore(input: Json): Promise<SessionStore> {
  return openAt(input as unknown as Place, { timeoutMs: 10_000 });
}

/** More time than a user would want: these tests share a small machine with others, and a stall of it is no failure. */
export function openAt(place: Place, options: RedisStoreOptions = {}): SessionStore {
  return redis(targetOf(place), { prefix: place.prefix, timeoutMs: 2000, ...options });
}

function targetOf(place: Place): RedisTarget {
  if (place.kind === "ioredis") return { path: place.path };
  if (place.kind === "cluster") return { cluster: place.ports.map((port) => ({ host: "127.0.0.1", port })) };
  return createClient({ socket: { path: place.path, tls: false } });
}
