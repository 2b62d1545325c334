import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/mechanisms/dialog/client-node.ts";
import type { Dialog } from "../../src/mechanisms/dialog/client-node.ts";
import { CutLink } from "../mechanisms/dialog/cut-link.ts";
import type { NodeTask } from "./dialog-node.ts";
import { saying } from "./dialog-node.ts";

export interface Chaos {
  readonly engine: NodeTask["engine"];
  /** An address; a folder is made where none is given. */
  readonly at?: string;
  /** Messages each way. */
  readonly count: number;
  readonly resets: number;
  readonly halfOpens: number;
  /** Cut again while each side repeats what the other did not get. */
  readonly replays: number;
  readonly kills: number;
  /** The other node takes over while the first believes it has the dialog. */
  readonly moves: number;
  readonly seed: number;
}

export interface Outcome {
  readonly seconds: number;
  readonly links: number;
  /** Messages that came up again after a node was lost, and were known by their number. */
  readonly repeats: number;
}

/** One dialog between this process and two nodes, through everything that can happen to it. */
export async function chaos(task: Chaos): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-chaos-"));
  const effects = join(folder, "effects");
  writeFileSync(effects, "");
  const payloadBytes = 64;
  const order = { engine: task.engine, at: task.at ?? folder, count: task.count, effects, payloadBytes };
  const nodes = new Nodes(order);
  const cut = await new CutLink().start(0);
  try {
    await nodes.start();
    await nodes.start();
    cut.target = nodes.first.port;
    const startedAt = performance.now();
    const dialog = await connect(`tcp://127.0.0.1:${cut.port}`, {
      authorization: "ann",
      holdMs: 600_000,
      reconnect: { minMs: 5, maxMs: 200 },
    });
    const got = reading(dialog);
    const sent = (async () => {
      for (let number = 0; number < task.count; number++) await dialog.send(saying(number, payloadBytes));
    })();
    // An end that nobody asked for must not go by as an unhandled rejection.
    sent.catch(() => undefined);
    const progress = (): number => got.length + dialog.sent - dialog.backlog;
    const events = shuffled(task);
    for (const [index, event] of events.entries()) {
      const due = ((index + 1) * 2 * task.count) / (events.length + 1);
      await until(`message ${due}`, () => progress() >= due || dialog.ended !== undefined);
      await until("a link", () => dialog.linked || dialog.ended !== undefined);
      await happen(event, cut, nodes, dialog);
    }
    assert.equal(dialog.ended, undefined);
    await sent;
    await until(
      "the rest",
      () => (got.length >= task.count && dialog.backlog === 0) || dialog.ended !== undefined,
    );
    await dialog.finish();
    const seconds = (performance.now() - startedAt) / 1000;
    check(got, task, payloadBytes);
    return { seconds, links: cut.links, repeats: checkEffects(effects, task, payloadBytes) };
  } finally {
    await cut.stop();
    await nodes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Event = "reset" | "half-open" | "replay" | "kill" | "move";

function shuffled({ resets, halfOpens, replays, kills, moves, seed }: Chaos): Event[] {
  const events: Event[] = [
    ...Array<Event>(resets).fill("reset"),
    ...Array<Event>(halfOpens).fill("half-open"),
    ...Array<Event>(replays).fill("replay"),
    ...Array<Event>(kills).fill("kill"),
    ...Array<Event>(moves).fill("move"),
  ];
  let state = seed >>> 0;
  const below = (bound: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
  for (let index = events.length - 1; index > 0; index--) {
    const other = below(index + 1);
    const [one, two] = [events[index], events[other]];
    if (one !== undefined && two !== undefined) [events[index], events[other]] = [two, one];
  }
  return events;
}

async function happen(event: Event, cut: CutLink, nodes: Nodes, dialog: Dialog): Promise<void> {
  switch (event) {
    case "reset":
      return cut.reset();
    case "half-open":
      return cut.halfOpen();
    case "replay": {
      const { links } = cut;
      cut.halfOpen();
      await until("another link", () => cut.links > links || dialog.ended !== undefined);
      return cut.reset();
    }
    case "kill":
      await nodes.killFirst();
      cut.target = nodes.first.port;
      await nodes.start();
      return;
    case "move":
      nodes.swap();
      cut.target = nodes.first.port;
      cut.halfOpen();
  }
}

/** Processes of `dialog-node`; the first is the one that is talked to. */
class Nodes {
  readonly #task: NodeTask;
  #all: { child: ChildProcess; port: number }[] = [];

  constructor(task: NodeTask) {
    this.#task = task;
  }

  get first(): { readonly child: ChildProcess; readonly port: number } {
    const [first] = this.#all;
    assert.ok(first !== undefined);
    return first;
  }

  async start(): Promise<void> {
    const child = fork(join(import.meta.dirname, "dialog-node.js"), {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const port = await new Promise<number>((resolve, reject) => {
      child.once("message", (message) => resolve((message as { port: number }).port));
      child.once("exit", () => reject(new Error("a node did not start")));
      child.send(this.#task);
    });
    this.#all.push({ child, port });
  }

  swap(): void {
    this.#all.reverse();
  }

  async killFirst(): Promise<void> {
    const [first] = this.#all.splice(0, 1);
    if (first !== undefined) await kill(first.child);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.splice(0).map(({ child }) => kill(child)));
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

function reading(dialog: Dialog): { number: number; text: string }[] {
  const got: { number: number; text: string }[] = [];
  void (async () => {
    for await (const message of dialog) {
      got.push({ number: message.number, text: message.text });
      message.commit().catch(() => undefined);
    }
  })();
  return got;
}

/** This process lived through it all: here nothing may come twice, whatever its number. */
function check(got: readonly { number: number; text: string }[], { count }: Chaos, bytes: number): void {
  assert.equal(got.length, count);
  for (const [index, { number, text }] of got.entries()) {
    assert.equal(number, index, `number ${number} came where ${index} was to come`);
    assert.equal(text, saying(index, bytes));
  }
}

/** Every number once with what it said, each process in order; a zombie may have noted what its successor notes as well. */
function checkEffects(effects: string, { count }: Chaos, bytes: number): number {
  const lines = readFileSync(effects, "utf8").trimEnd().split("\n");
  const noted = new Set<number>();
  const last = new Map<string, number>();
  for (const line of lines) {
    const [pid = "", said = "", ...rest] = line.split(" ");
    const number = Number(said);
    assert.equal(rest.join(" "), saying(number, bytes));
    assert.ok(number > (last.get(pid) ?? -1), `${number} came after ${last.get(pid)}`);
    last.set(pid, number);
    noted.add(number);
  }
  assert.equal(noted.size, count, `${count - noted.size} messages were lost`);
  for (const number of noted) assert.ok(number < count);
  return lines.length - noted.size;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const giveUp = Date.now() + 120_000;
  while (!holds()) {
    if (Date.now() > giveUp) throw new Error(`waited two minutes for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
