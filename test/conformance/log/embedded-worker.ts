import type { Json, SessionLog } from "../../../src/kernel/index.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";

export async function openLog(input: Json): Promise<SessionLog> {
  if (typeof input !== "string") throw new Error("a path is needed");
  return embeddedLog({ path: input, segmentBytes: 20_000, compactMs: 20 });
}
