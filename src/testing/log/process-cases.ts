import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SessionLog } from "../../kernel/log.ts";
import type { Handle } from "../../kernel/secret.ts";
import { logCase } from "./context.ts";
import type { LogHarness, LogWorkerSpec } from "./harness.ts";
import { entryBytes, sampleHandle } from "./samples.ts";
import type { WorkerTask } from "./worker.ts";

/** What must hold when processes die, or do not know yet that they were taken over. */
export function processCases(harness: LogHarness): void {
  if (harness.strongest === "memory") return;

  logCase(harness, "what was acknowledged survives kill -9, whole and in order", async ({ open, data }) => {
    const handle = sampleHandle();
    let epoch = 0;
    for (let round = 0; round < 4; round++) {
      const writer = new Writer(data.worker, handle, ++epoch);
      await writer.reaches(writer.acked + 150 + 37 * round);
      const acked = await writer.kill();
      await verify(await open(), handle, ++epoch, acked);
    }
  });

  logCase(harness, "a process that was taken over cannot add, and is told so", async ({ open, data }) => {
    const handle = sampleHandle();
    let epoch = 0;
    for (let round = 0; round < 5; round++) {
      const writer = new Writer(data.worker, handle, ++epoch);
      await writer.reaches(40);
      const log = await open();
      const next = await verify(log, handle, ++epoch, writer.acked);
      assert.equal(await writer.outcome, "fenced");
      assert.ok(writer.acked <= next, `it was told that ${writer.acked} are safe, and ${next} are there`);
      const again = await log.open(handle, epoch);
      assert.ok(again !== "fenced" && again.next === next, "it has added something after all");
    }
  });
}

/** Takes the stream over and looks at all of it; returns where it ends. */
async function verify(log: SessionLog, handle: Handle, epoch: number, acked: number): Promise<number> {
  const state = await log.open(handle, epoch);
  assert.ok(state !== "fenced");
  assert.ok(state.next >= acked, `${acked} were acknowledged, and ${state.next} are there`);
  assert.match(
    Buffer.from(state.mark ?? []).toString(),
    new RegExp(`^\\d+:${state.next}$`),
    "the mark is of another batch",
  );
  let next = state.first;
  while (next < state.next) {
    const page = await log.read(handle, next, { entries: 100, bytes: 1_000_000 });
    assert.ok(page.length > 0, `nothing at ${next} of ${state.next}`);
    for (const entry of page) {
      assert.equal(entry.number, next++);
      const by = Number(/@(\d+):/.exec(Buffer.from(entry.bytes).toString("latin1"))?.[1]);
      assert.deepEqual([...entry.bytes], [...entryBytes(entry.number, by)]);
    }
  }
  return state.next;
}

class Writer {
  acked = 0;
  readonly outcome: Promise<string>;
  readonly #child: ChildProcess;
  #wake: () => void = () => undefined;

  constructor(spec: LogWorkerSpec | undefined, handle: Handle, epoch: number) {
    if (spec === undefined) throw new Error("a log that reaches beyond its process needs `worker`");
    const task: WorkerTask = { ...spec, handle, epoch, ack: "stored" };
    this.#child = fork(fileURLToPath(new URL("./worker.js", import.meta.url)), [JSON.stringify(task)]);
    this.outcome = new Promise((resolve, reject) => {
      this.#child.on("message", (message: { opened?: number; acked?: number; outcome?: string }) => {
        if (message.outcome !== undefined) resolve(message.outcome);
        this.acked = message.acked ?? message.opened ?? this.acked;
        this.#wake();
      });
      // Comes after the last message, as `exit` need not.
      this.#child.on("disconnect", () => reject(new Error("a worker ended before it was told anything")));
    });
    this.outcome.catch(() => this.#wake());
  }

  async reaches(acked: number): Promise<void> {
    while (this.acked < acked) {
      if (!this.#child.connected) throw new Error("a worker ended before its time");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async kill(): Promise<number> {
    const over = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await over;
    return this.acked;
  }
}
