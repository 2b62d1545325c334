// The entry of a worker process: opens the store it is told to, then does what it is told (tasks.ts).
import type { Json } from "../../kernel/record.ts";
import type { SessionStore } from "../../kernel/store.ts";
import type { WorkerSpec } from "./harness.ts";
import type { Answer, Task } from "./tasks.ts";
import { TASKS } from "./tasks.ts";

let store: SessionStore | undefined;

process.on("message", (message) => {
  const task = message as Task;
  perform(task).then(
    (value) => send({ type: "done", id: task.id, value }),
    (error: unknown) => {
      send({
        type: "failed",
        id: task.id,
        message: error instanceof Error ? (error.stack ?? "") : String(error),
      });
    },
  );
});
process.on("disconnect", () => process.exit(0));

async function perform({ task, input }: Task): Promise<Json> {
  if (task === "open") {
    store = await openStore(input as unknown as WorkerSpec);
    return process.pid;
  }
  if (store === undefined) throw new Error("the store is not open");
  return TASKS[task](store, input, (value) => send({ type: "report", value }));
}

async function openStore({ module, input }: WorkerSpec): Promise<SessionStore> {
  const loaded = (await import(module)) as { openStore?: (input: Json) => Promise<SessionStore> };
  if (loaded.openStore === undefined) throw new Error(`${module} does not export openStore(input)`);
  return loaded.openStore(input);
}

function send(answer: Answer): void {
  process.send?.(answer);
}
