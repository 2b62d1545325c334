import type { Json, SessionLog } from "../../../src/kernel/index.ts";
import { postgresLog } from "../../../src/store/postgres/log.ts";

export async function openLog(input: Json): Promise<SessionLog> {
  if (typeof input !== "string") throw new Error("a URL and a schema are needed");
  const [url = "", schema = ""] = input.split(" ");
  return postgresLog(url, { schema, timeoutMs: 20_000 });
}
