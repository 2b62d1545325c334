// One of several nodes that share a store and a log: sends numbered messages down every dialog and notes what comes up, by
// number, in a file. It is killed without warning; whoever takes the dialog over goes on.
import { openSync, readFileSync, writeSync } from "node:fs";
import type { SessionLog, SessionStore } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import type { Dialog } from "../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../src/mechanisms/dialog/index.ts";
import { embeddedLog } from "../../src/store/embedded/log.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { postgres } from "../../src/store/postgres/index.ts";
import { postgresLog } from "../../src/store/postgres/log.ts";
import { redis } from "../../src/store/redis/index.ts";
import { redisLog } from "../../src/store/redis/log.ts";

export interface NodeTask {
  readonly engine: "lmdb" | "redis" | "postgres";
  /** A folder or an address. */
  readonly at: string;
  /** Messages down each dialog. */
  readonly count: number;
  /** The file what comes up is noted in. */
  readonly effects: string;
  readonly payloadBytes: number;
}

if (process.send !== undefined) {
  process.once("message", (task) => void start(task as NodeTask));
  process.once("disconnect", () => process.exit(1));
}

/** What message `number` says; both sides know. */
export function saying(number: number, bytes: number): string {
  return `message ${number} `.padEnd(bytes, String.fromCharCode(97 + (number % 26)));
}

async function start(task: NodeTask): Promise<void> {
  const { store, log } = open(task);
  const faults = (error: unknown): void => console.error("fault", error);
  const kernel = createKernel({ store, onFault: faults });
  await kernel.start();
  const dialogs = createDialogs({
    kernel,
    log,
    pingMs: 300,
    authenticate: ({ authorization }) => (authorization === "ann" ? { principal: "ann" } : undefined),
    onFault: faults,
  });
  dialogs.on("open", (dialog) => {
    void note(dialog, task).catch(faults);
    void speak(dialog, task);
  });
  const { port } = await dialogs.listen();
  process.send?.({ port });
}

function open({ engine, at }: NodeTask): { store: SessionStore; log: SessionLog } {
  // A machine that is busy with other things is not a store that is down.
  const timeoutMs = 20_000;
  switch (engine) {
    case "lmdb":
      return { store: lmdb({ path: `${at}/store` }), log: embeddedLog({ path: `${at}/log` }) };
    case "redis":
      return { store: redis(at, { timeoutMs }), log: redisLog(at, { timeoutMs }) };
    case "postgres":
      return { store: postgres(at, { timeoutMs }), log: postgresLog(at, { timeoutMs }) };
  }
}

/** Goes on behind what was accepted before, here or on another node. */
async function speak(dialog: Dialog, { count, payloadBytes }: NodeTask): Promise<void> {
  try {
    for (let number = dialog.sent; number < count; number++)
      await dialog.send(saying(number, payloadBytes), { until: number % 16 === 0 ? "stored" : "memory" });
  } catch {
    // It has gone on elsewhere; who has it now sends the rest.
  }
}

/** An effect is noted under the message's own number, so that one that comes again is known. */
async function note(dialog: Dialog, { effects }: NodeTask): Promise<void> {
  const file = openSync(effects, "a+");
  let noted = noteCount(effects);
  for await (const message of dialog) {
    if (message.number >= noted) {
      writeSync(file, `${process.pid} ${message.number} ${message.text}\n`);
      noted = message.number + 1;
    }
    message.commit().catch(() => undefined);
  }
}

function noteCount(effects: string): number {
  const last = readFileSync(effects, "utf8").trimEnd().split("\n").at(-1) ?? "";
  return last === "" ? 0 : Number(last.split(" ")[1]) + 1;
}
