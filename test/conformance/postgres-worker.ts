// How a worker process of the suite opens the same schema.
import type { Json, SessionStore } from "../../src/kernel/index.ts";
import { postgres } from "../../src/store/postgres/index.ts";

export async function openStore(input: Json): Promise<SessionStore> {
  if (input === null || typeof input !== "object" || Array.isArray(input)) throw new Error("no place given");
  const { url, schema } = input as { url: string; schema: string };
  return postgres(url, { schema, timeoutMs: 20_000 });
}
