import type { Json } from "../../src/kernel/record.ts";
import type { SessionStore } from "../../src/kernel/store.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";

/** How the suite's worker processes open the folder. */
export async function openStore(input: Json): Promise<SessionStore> {
  const { path } = input as { path: string };
  return lmdb({ path, timeoutMs: 60_000 });
}
