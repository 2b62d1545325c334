import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { chaos } from "../test/chaos/dialog-run.ts";
import { CutLink } from "../test/mechanisms/dialog/cut-link.ts";
import type { Kind } from "./dialog/peers.ts";
import { dial, KINDS } from "./dialog/peers.ts";
import type { Answer, Order } from "./dialog/server.ts";
import type { Heard, Talker } from "./dialog/talk.ts";
import { Ear, numbered, sendAll, until } from "./dialog/talk.ts";
import { inTurn, median, medianRatio, printTable, quantile, rounded } from "./harness.ts";

/** Messages each way in one round: as many as take about half a second. */
const COUNT: Readonly<Record<Kind, number>> = {
  ws: 40_000,
  memory: 60_000,
  stored: 40_000,
  durable: 40_000,
  "socket.io": 20_000,
  "mqtt 0": 20_000,
  "mqtt 1": 8_000,
};
const PINGS = 1500;
const SUSPENDED = 2000;
const TAKEOVERS = 9;
const AWAY_PER_SECOND = 15_000;
const CUT_KINDS = ["memory", "stored", "socket.io", "mqtt 1"] as const;

/** Of one kind, a figure a round. */
interface Figures {
  readonly perSecond: number[];
  readonly p50: number[];
}

/**
 * Messages of 64 bytes both ways at once between two processes, ping-pong, what a server holds for a peer that is away
 * (AWAY_SECONDS, 6 unless given), and what is lost through links that are cut and a node that is killed.
 */
export default async function dialogBench({
  rounds = 3,
}: {
  rounds?: number;
}): Promise<Record<string, unknown>> {
  // A disk that is one: a file system in memory would make everything durable for nothing.
  mkdirSync("artifacts", { recursive: true });
  const folder = mkdtempSync(join("artifacts", "bench-"));
  process.env["HOLDFAST_BENCH_DIR"] = folder;
  const servers = new Map<Kind, Peer>();
  try {
    for (const kind of KINDS) servers.set(kind, await Peer.start(kind));
    const figures = new Map<Kind, Figures>(KINDS.map((kind) => [kind, { perSecond: [], p50: [] }]));
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      for (const kind of inTurn(KINDS, round)) {
        const [server, kept] = [servers.get(kind), figures.get(kind)];
        if (server === undefined || kept === undefined) continue;
        const perSecond = await throughput(server, round === 0 ? COUNT[kind] / 4 : COUNT[kind]);
        const p50 = await pingPong(server, pings(kind, round));
        if (round === 0) continue;
        kept.perSecond.push(perSecond);
        kept.p50.push(p50);
      }
    }
    const cuts = new Map<Kind, Heard>();
    for (const kind of CUT_KINDS) cuts.set(kind, await throughCuts(kind));
    const awayMib = await away(Number(process.env["AWAY_SECONDS"] ?? 6));
    const takeoverMs = await takeover();
    const suspendedKib = await suspended();
    // It throws when anything was lost, doubled or out of order.
    await chaos({
      engine: "lmdb",
      count: 5000,
      resets: 2,
      halfOpens: 2,
      replays: 1,
      kills: 2,
      moves: 1,
      seed: 1,
    });
    return report(figures, cuts, { awayMib, takeoverMs, suspendedKib });
  } finally {
    for (const server of servers.values()) await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function report(
  figures: ReadonlyMap<Kind, Figures>,
  cuts: ReadonlyMap<Kind, Heard>,
  { awayMib, takeoverMs, suspendedKib }: { awayMib: number; takeoverMs: number; suspendedKib: number },
): Record<string, unknown> {
  const of = (kind: Kind): Figures => figures.get(kind) ?? { perSecond: [], p50: [] };
  const speed = (kind: Kind, than: Kind = "ws"): number =>
    medianRatio(of(kind).perSecond, of(than).perSecond);
  const latency = (kind: Kind): number => medianRatio(of(kind).p50, of("ws").p50);
  printTable([
    ["", "messages/s", "÷ ws", "ping-pong p50 µs", "÷ ws", "lost", "doubled", "out of order"],
    ...KINDS.map((kind) => [
      kind === "ws" || kind.includes(".") || kind.includes(" ") ? kind : `holdfast, ${kind}`,
      Math.round(median(of(kind).perSecond)),
      rounded(speed(kind)),
      Math.round(median(of(kind).p50)),
      rounded(latency(kind)),
      cuts.get(kind)?.lost ?? null,
      cuts.get(kind)?.duplicated ?? null,
      cuts.get(kind)?.reordered ?? null,
    ]),
  ]);
  process.stdout.write(`growth of the server with its peer away: ${awayMib.toFixed(1)} MiB\n`);
  process.stdout.write(`a suspended dialog: ${suspendedKib.toFixed(1)} KiB\n`);
  process.stdout.write(
    `from a link that is half-open to what comes over the next: ${takeoverMs.toFixed(1)} ms\n`,
  );
  const ours = CUT_KINDS.slice(0, 2).map((kind) => cuts.get(kind));
  const total = (what: "lost" | "duplicated" | "reordered"): number =>
    ours.reduce((sum, heard) => sum + (heard?.[what] ?? 0), 0);
  return {
    ws_ratio_memory: rounded(speed("memory")),
    ws_ratio_stored: rounded(speed("stored")),
    ws_ratio_durable: rounded(speed("durable")),
    socketio_ratio: rounded(speed("memory", "socket.io")),
    mqtt_ratio: rounded(speed("stored", "mqtt 1")),
    pingpong_ratio: rounded(latency("memory")),
    lost: total("lost"),
    duplicated: total("duplicated"),
    reordered: total("reordered"),
    peers_lost: { socketio: cuts.get("socket.io"), mqtt: cuts.get("mqtt 1") },
    away_mib: rounded(awayMib, 1),
    suspended_kib: rounded(suspendedKib, 1),
    takeover_ms: rounded(takeoverMs, 1),
  };
}

/** An acknowledged MQTT publish waits for a delayed acknowledgement of TCP each time. */
function pings(kind: Kind, round: number): number {
  return kind === "mqtt 1" ? 8 : round === 0 ? 500 : PINGS;
}

/** Both ways at once; messages that have arrived, in a second. */
async function throughput(server: Peer, count: number): Promise<number> {
  const ear = new Ear(count);
  const talker = await dial(server.kind, server.port, () => ear);
  await server.talk({ do: "talk", count, echo: false });
  const startedAt = performance.now();
  await sendAll(talker, count);
  await until(`${server.kind}`, () => ear.complete);
  const { heard } = await server.result(60_000);
  const seconds = (performance.now() - startedAt) / 1000;
  if (heard.lost > 0) throw new Error(`${server.kind} lost ${heard.lost} without a cut`);
  talker.close();
  return (2 * count) / seconds;
}

/** The middle time of one message there and back, in µs. */
async function pingPong(server: Peer, count: number): Promise<number> {
  const ear = new Ear(count);
  const talker: Talker = await dial(server.kind, server.port, () => ear);
  await server.talk({ do: "talk", count, echo: true });
  const times: number[] = [];
  for (let number = 0; number < count; number++) {
    const startedAt = performance.now();
    const back = new Promise<void>((resolve) => (ear.heard = () => resolve()));
    void talker.send(numbered(number));
    await back;
    times.push((performance.now() - startedAt) * 1000);
  }
  talker.close();
  return quantile(times, 0.5);
}

/** Both ways through three resets and three half-open links. */
async function throughCuts(kind: Kind): Promise<Heard> {
  const count = 6000;
  const server = await Peer.start(kind);
  const cut = await new CutLink().start(server.port);
  try {
    const ear = new Ear(count);
    const talker = await dial(kind, cut.port, () => ear);
    await server.talk({ do: "talk", count, echo: false, perSecond: 4000 });
    const sending = sendAll(talker, count, 4000);
    for (let turn = 0; turn < 6; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      if (turn % 2 === 0) cut.reset();
      else cut.halfOpen();
    }
    await sending;
    await until("what comes", () => ear.complete, 2000).catch(() => undefined);
    const { heard: up } = await server.result(1000);
    const down = ear.result();
    talker.close();
    return {
      received: up.received + down.received,
      lost: up.lost + down.lost,
      duplicated: up.duplicated + down.duplicated,
      reordered: up.reordered + down.reordered,
    };
  } finally {
    await cut.stop();
    await server.stop();
  }
}

/** What the server's memory grows by while it sends to a client that is not there, in MiB. */
async function away(seconds: number): Promise<number> {
  const server = await Peer.start("stored", ["--expose-gc"]);
  const cut = await new CutLink().start(server.port);
  try {
    const ear = new Ear(1);
    await dial("stored", cut.port, () => ear);
    // The size of a process settles with the first few hundred thousand messages, whoever they are for.
    await server.talk({ do: "talk", count: AWAY_PER_SECOND, echo: false, perSecond: AWAY_PER_SECOND });
    const before = await server.sent();
    cut.down = true;
    cut.reset();
    await server.talk({
      do: "talk",
      count: seconds * AWAY_PER_SECOND,
      echo: false,
      perSecond: AWAY_PER_SECOND,
    });
    const after = await server.sent();
    return (after - before) / 1_048_576;
  } finally {
    await cut.stop();
    await server.stop();
  }
}

/** The middle time from the loss of a link, of which the server learns nothing, to the first message it sends again. */
async function takeover(): Promise<number> {
  const server = await Peer.start("stored");
  const cut = await new CutLink().start(server.port);
  try {
    const ear = new Ear(60_000);
    const talker = await dial("stored", cut.port, () => ear);
    await server.talk({ do: "talk", count: 60_000, echo: false, perSecond: 2000 });
    const times: number[] = [];
    for (let turn = 0; turn < TAKEOVERS; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      const { received } = ear;
      cut.halfOpen();
      const startedAt = performance.now();
      await until("the next message", () => ear.received > received);
      times.push(performance.now() - startedAt);
    }
    talker.close();
    return median(times);
  } finally {
    await cut.stop();
    await server.stop();
  }
}

/** Memory of the server for one of many dialogs without a link, in KiB. */
async function suspended(): Promise<number> {
  const server = await Peer.start("stored", ["--expose-gc"]);
  const cut = await new CutLink().start(server.port);
  try {
    const { heapBytes: before } = await server.result(0);
    for (let at = 0; at < SUSPENDED; at += 50)
      await Promise.all(Array.from({ length: 50 }, () => dial("stored", cut.port, () => new Ear(0))));
    cut.down = true;
    cut.reset();
    // A link that was closed is let go of after two seconds at most.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const { heapBytes: after } = await server.result(0);
    return (after - before) / 1024 / SUSPENDED;
  } finally {
    await cut.stop();
    await server.stop();
  }
}

/** A server of one kind in a process of its own. */
class Peer {
  readonly kind: Kind;
  readonly port: number;
  readonly #child: ChildProcess;
  #sent: number | undefined;

  private constructor(kind: Kind, port: number, child: ChildProcess) {
    this.kind = kind;
    this.port = port;
    this.#child = child;
    child.on("message", (answer: Answer) => {
      if ("sent" in answer) this.#sent = answer.rssBytes;
    });
  }

  static async start(kind: Kind, execArgv: readonly string[] = []): Promise<Peer> {
    const child = fork(join(import.meta.dirname, "dialog", "server.js"), {
      execArgv: [...execArgv],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const answer = await asked(child, { do: "serve", kind }, (one) => ("port" in one ? one : undefined));
    return new Peer(kind, answer.port, child);
  }

  async talk(order: Extract<Order, { do: "talk" }>): Promise<void> {
    this.#sent = undefined;
    await asked(this.#child, order, (answer) => ("talking" in answer ? answer : undefined));
  }

  /** Waits until it has sent all; its memory then, in bytes. */
  async sent(): Promise<number> {
    await until("the server to send", () => this.#sent !== undefined, 120_000);
    return this.#sent ?? 0;
  }

  result(withinMs: number): Promise<{ heard: Heard; heapBytes: number }> {
    return asked(this.#child, { do: "result", withinMs }, (answer) =>
      "heard" in answer ? answer : undefined,
    );
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill("SIGKILL");
    await gone;
  }
}

function asked<T>(child: ChildProcess, order: Order, pick: (answer: Answer) => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const died = (): void => reject(new Error("a server of the benchmark has died"));
    const hear = (answer: Answer): void => {
      const picked = pick(answer);
      if (picked === undefined) return;
      child.off("message", hear);
      child.off("exit", died);
      resolve(picked);
    };
    child.on("message", hear);
    child.once("exit", died);
    child.send(order);
  });
}
