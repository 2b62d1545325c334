import type { SessionStore } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { postgres } from "../../src/store/postgres/index.ts";
import { redis } from "../../src/store/redis/index.ts";

export function openStore(kind: string, address: string): SessionStore {
  if (kind === "lmdb") return lmdb({ path: address });
  if (kind === "postgres") return postgres(address);
  return redis({ path: address });
}
