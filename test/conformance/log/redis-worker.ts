import type { Json, SessionLog } from "../../../src/kernel/index.ts";
import { redisLog } from "../../../src/store/redis/log.ts";

export async function openLog(input: Json): Promise<SessionLog> {
  if (typeof input !== "string") throw new Error("a path and a prefix are needed");
  const [path = "", prefix = ""] = input.split(" ");
  return redisLog(path, { prefix, timeoutMs: 2000 });
}
