import type { SessionLog } from "../../kernel/log.ts";
import type { Json } from "../../kernel/record.ts";
import { parseHandle } from "../../kernel/secret.ts";
import { entryBytes } from "./samples.ts";

/** What a worker is told: to append to `handle` without end, and to say after each batch how far it is acknowledged. */
export interface WorkerTask {
  readonly module: string;
  readonly input: Json;
  readonly handle: string;
  readonly epoch: number;
  readonly ack: "stored" | "durable";
}

const task: WorkerTask = JSON.parse(process.argv[2] ?? "{}");
const handle = parseHandle(task.handle);
if (handle === undefined) throw new Error("a worker needs a handle");
const opened: { openLog(input: Json): Promise<SessionLog> } = await import(task.module);
const log = await opened.openLog(task.input);
const state = await log.open(handle, task.epoch);
let next = state === "fenced" ? -1 : state.next;
process.send?.({ opened: next });
while (next >= 0) {
  const count = 1 + (next % 7);
  const entries = Array.from({ length: count }, (_, index) => entryBytes(next + index, task.epoch));
  const mark = Buffer.from(`${task.epoch}:${next + count}`);
  const outcome = await log.append(handle, task.epoch, { from: next, entries, mark }, task.ack);
  if (outcome !== "appended") {
    process.send?.({ outcome });
    break;
  }
  next += count;
  process.send?.({ acked: next });
}
await log.close();
process.disconnect?.();
