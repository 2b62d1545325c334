/**
 * A job that is killed and continues: a worker counts primes and sets a sync point after each block; the office keeps what
 * lies before a confirmed point. Whoever takes the work over resumes the activity behind the last point, not at the start.
 * `node build/examples/checkpointed-job.js` runs it and kills its worker twice.
 */
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { createKernel } from "../src/kernel/index.ts";
import { connect } from "../src/mechanisms/dialog/client-node.ts";
import type { Dialog } from "../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../src/mechanisms/dialog/index.ts";
import { memory } from "../src/store/memory/index.ts";

const BLOCK = 20_000;
const BLOCKS = 12;
const KILL_AFTER = [3, 7];

/** What the office has kept: all that lies before sync point `serial` of activity `id` in dialog `handle`. */
interface Kept {
  readonly id: string;
  readonly handle: string;
  readonly serial: number;
  readonly blocks: number;
  readonly primes: number;
}

const [, , role = "office", url = ""] = process.argv;
if (role === "worker") await work(url);
else await office();

// ── the office ──────────────────────────────────────────────────────────────────────────────────────────────────

async function office(): Promise<void> {
  const kernel = createKernel({ store: memory() });
  await kernel.start();
  const dialogs = createDialogs({ kernel, authenticate: () => ({ principal: "worker" }), onFault: print });
  let kept: Kept = { id: "", handle: "", serial: 0, blocks: 0, primes: 0 };
  let worker: ChildProcess | undefined;
  const kills = [...KILL_AFTER];
  const done = new Promise<void>((resolve) => {
    dialogs.on("open", async (dialog) => {
      let { id, blocks, primes } = kept;
      dialog.on("activity", (event) => {
        if (event.what !== "end") id = event.id;
        if (event.what === "resume") print(`resumed behind point ${event.serial}, at block ${kept.blocks}`);
        if (event.what === "end") resolve();
      });
      // It is told in order with the messages: all before the point have been counted.
      dialog.on("minor", (serial) => {
        kept = { id, handle: dialog.handle, serial, blocks, primes };
        print(`point ${serial}: ${blocks} blocks, ${primes} primes`);
        if (blocks !== kills[0]) return;
        kills.shift();
        worker?.kill("SIGKILL");
        print("the worker was killed");
      });
      // Typed data, since content belongs inside an activity and none is going on yet.
      await dialog.sendTyped(new TextEncoder().encode(JSON.stringify(kept)));
      for await (const message of dialog) {
        blocks++;
        primes += Number(message.text);
        await message.commit();
      }
    });
  });
  const { host, port } = await dialogs.listen();
  const hire = (): void => {
    const hired = fork(fileURLToPath(import.meta.url), ["worker", `tcp://${host}:${port}`]);
    worker = hired;
    hired.on("exit", (code) => {
      if (code !== 0) hire();
    });
  };
  hire();
  await done;
  print(`done: ${kept.primes} primes below ${BLOCK * BLOCKS}`);
  if (worker !== undefined) await new Promise((resolve) => worker?.once("exit", resolve));
  await dialogs.close();
  await kernel.close();
}

function print(line: unknown): void {
  process.stdout.write(`${String(line)}\n`);
}

// ── the worker ──────────────────────────────────────────────────────────────────────────────────────────────────

async function work(at: string): Promise<void> {
  const dialog = await connect(at, { activities: true });
  const { id, handle, serial, blocks } = await firstWord(dialog);
  if (id === "") await dialog.startActivity("primes/1");
  else await dialog.resumeActivity(`primes/${blocks + 1}`, { id, handle, serial });
  for (let block = blocks; block < BLOCKS; block++) {
    await dialog.send(String(primesIn(block * BLOCK, (block + 1) * BLOCK)));
    const { confirmed } = await dialog.minorSync();
    await confirmed;
  }
  await dialog.endActivity();
  await dialog.finish();
}

async function firstWord(dialog: Dialog): Promise<Kept> {
  for await (const message of dialog) {
    await message.commit();
    return JSON.parse(message.text) as Kept;
  }
  throw new Error("the office has nothing to do");
}

function primesIn(from: number, to: number): number {
  let count = 0;
  for (let number = Math.max(2, from); number < to; number++) {
    let divisor = 2;
    while (divisor * divisor <= number && number % divisor !== 0) divisor++;
    if (divisor * divisor > number) count++;
  }
  return count;
}
