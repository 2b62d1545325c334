import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurn, median, medianRatio, printTable, quantile, rounded } from "./harness.ts";
import { append, ask, create, hang, offsetOf } from "./transfer/client.ts";
import type { Nginx } from "./transfer/nginx.ts";
import { cpuUsOf, startNginx } from "./transfer/nginx.ts";
import type { Side } from "./transfer/server.ts";

const SIDES = ["holdfast", "peer"] as const;
const MIB = 1024 * 1024;
const PUT_BYTES = 256 * MIB;
const CHUNK_BYTES = 8 * MIB;
const SMALL_COUNT = 400;
const DOWNLOAD_BYTES = 256 * MIB;

interface Running {
  readonly side: Side;
  readonly child: ChildProcess;
  readonly port: number;
}

/** Somebody whose work is measured: one of ours, or nginx. */
interface Contender {
  readonly side: Side | "nginx";
  readonly port: number;
  cpuUs(): Promise<number>;
}

interface Measured {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

type Work = (port: number) => Promise<void>;

const WORKS: Readonly<Record<"put" | "chunks" | "small" | "range", Work>> = {
  put: async (port) => append(port, await create(port, PUT_BYTES), 0, Buffer.alloc(PUT_BYTES, 1)),
  chunks: async (port) => {
    const path = await create(port, PUT_BYTES / 2);
    const chunk = Buffer.alloc(CHUNK_BYTES, 1);
    for (let at = 0; at < PUT_BYTES / 2; at += CHUNK_BYTES) await append(port, path, at, chunk);
  },
  small: async (port) => {
    const body = Buffer.alloc(10 * 1024, 1);
    let left = SMALL_COUNT;
    const worker = async (): Promise<void> => {
      while (left-- > 0) await append(port, await create(port, body.length), 0, body);
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  },
  range: async (port) => {
    const got = await ask(port, "GET", "/download", { Range: `bytes=1-${DOWNLOAD_BYTES - 1}` });
    if (got.status !== 206 || got.bytes !== DOWNLOAD_BYTES - 1)
      throw new Error(`a range answered ${got.status} with ${got.bytes} bytes`);
  },
};

/** What nginx can do of it: no upload that resumes, so a plain PUT to WebDAV stands in for one PATCH. */
const NGINX_WORKS: Readonly<Record<string, Work>> = {
  put: async (port) => {
    const done = await ask(port, "PUT", "/put/one.bin", {}, Buffer.alloc(PUT_BYTES, 1));
    if (done.status !== 201 && done.status !== 204) throw new Error(`a PUT answered ${done.status}`);
  },
  range: WORKS.range,
};

type Figures = Record<Side | "nginx", Measured[]>;

/** Beside @tus/server with its file store (which never syncs), `send`, and nginx; ours alone makes every acknowledged byte durable. */
export default async function transfer(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-bench-transfer-"));
  await writeFile(join(directory, "download.bin"), Buffer.alloc(DOWNLOAD_BYTES, 1));
  const running: Running[] = [];
  let nginx: Nginx | undefined;
  try {
    for (const side of SIDES) running.push(await start(side, directory));
    nginx = await startNginx(directory);
    const contenders: Contender[] = running.map((one) => ({
      side: one.side,
      port: one.port,
      cpuUs: async () => (await usage(one.child)).cpuUs,
    }));
    const { port, pid } = nginx ?? {};
    if (port !== undefined && pid !== undefined)
      contenders.push({ side: "nginx", port, cpuUs: () => Promise.resolve(cpuUsOf(pid)) });
    const figures = new Map<string, Figures>();
    for (const [name, work] of Object.entries(WORKS)) {
      const measured: Figures = { holdfast: [], peer: [], nginx: [] };
      const able = contenders.filter((one) => one.side !== "nginx" || name in NGINX_WORKS);
      const doing = (one: Contender): Work => (one.side === "nginx" ? (NGINX_WORKS[name] ?? work) : work);
      for (const one of able) await measure(one, doing(one));
      for (let round = 0; round < (options.rounds ?? 3); round += 1) {
        for (const one of inTurn(able, round)) measured[one.side].push(await measure(one, doing(one)));
      }
      figures.set(name, measured);
    }
    const ours = running.find((one) => one.side === "holdfast");
    if (ours === undefined) throw new Error("our server is not running");
    const takeover = await takeovers(ours, 20);
    const waitingKib = await memoryPerWaiting(ours, 2_000);
    const resentMib = await resent(directory, 5);
    return report(figures, { takeover, waitingKib, resentMib });
  } finally {
    for (const { child } of running) child.kill();
    nginx?.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

async function start(side: Side, directory: string): Promise<Running> {
  const program = fileURLToPath(new URL("./transfer/server.js", import.meta.url));
  const child = fork(program, [side, directory], {
    execArgv: ["--expose-gc"],
    // Both sides alike: as is advised for servers that take many small uploads.
    env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
  });
  const [message] = (await once(child, "message")) as [{ port: number }];
  return { side, child, port: message.port };
}

async function usage(child: ChildProcess): Promise<{ cpuUs: number; rssBytes: number }> {
  child.send("usage");
  const [message] = (await once(child, "message")) as [{ cpuUs: number; rssBytes: number }];
  return message;
}

async function measure(one: Contender, work: Work): Promise<Measured> {
  const before = await one.cpuUs();
  const started = process.hrtime.bigint();
  await work(one.port);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  return { seconds, cpuSeconds: ((await one.cpuUs()) - before) / 1e6 };
}

/** From the newcomer's request to its answer, while another request holds the upload and sends nothing. */
async function takeovers(ours: Running, count: number): Promise<{ p99Ms: number; cpuMs: number }> {
  const ms: number[] = [];
  const before = await usage(ours.child);
  for (let turn = 0; turn < count; turn += 1) {
    const path = await create(ours.port, MIB);
    const hung = await hang(ours.port, path, Buffer.alloc(64 * 1024));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const started = process.hrtime.bigint();
    let offset = await offsetOf(ours.port, path);
    const body = (): Buffer => Buffer.alloc(MIB - offset);
    for (;;) {
      try {
        await append(ours.port, path, offset, body());
        break;
      } catch {
        offset = await offsetOf(ours.port, path);
      }
    }
    ms.push(Number(process.hrtime.bigint() - started) / 1e6);
    hung.destroy();
  }
  const after = await usage(ours.child);
  return { p99Ms: quantile(ms, 0.99), cpuMs: (after.cpuUs - before.cpuUs) / 1_000 / count };
}

async function memoryPerWaiting(ours: Running, count: number): Promise<number> {
  const before = await usage(ours.child);
  for (let turn = 0; turn < count; turn += 1) await create(ours.port, MIB);
  const after = await usage(ours.child);
  return (after.rssBytes - before.rssBytes) / 1024 / count;
}

/** kill -9 in mid-upload: bytes that had left the client and were not there when the server came back. */
async function resent(directory: string, count: number): Promise<number> {
  const most: number[] = [];
  for (let turn = 0; turn < count; turn += 1) {
    const first = await start("holdfast", directory);
    const path = await create(first.port, 64 * MIB);
    const outgoing = await hang(first.port, path, Buffer.alloc(0));
    let sent = 0;
    const piece = Buffer.alloc(64 * 1024);
    for (let part = 0; part < 100 + turn * 37; part += 1) {
      await new Promise<void>((resolve) => outgoing.write(piece, () => resolve()));
      sent += piece.length;
      // About 30 MiB/s: what lies in the socket buffers of a client that floods says nothing about the server.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    first.child.kill("SIGKILL");
    await once(first.child, "exit");
    outgoing.destroy();
    const second = await start("holdfast", directory);
    most.push((sent - (await offsetOf(second.port, path))) / MIB);
    second.child.kill();
  }
  return Math.max(...most);
}

function report(
  figures: ReadonlyMap<string, Figures>,
  own: { takeover: { p99Ms: number; cpuMs: number }; waitingKib: number; resentMib: number },
): Record<string, unknown> {
  const seconds = (one: Measured): number => one.seconds;
  const cpu = (one: Measured): number => one.cpuSeconds;
  const of = (name: string, side: Side | "nginx"): Measured[] => figures.get(name)?.[side] ?? [];
  const ratio = (name: string, what: (one: Measured) => number, other: "peer" | "nginx" = "peer"): number =>
    medianRatio(of(name, "holdfast").map(what), of(name, other).map(what));
  printTable([
    ["", "ours s", "theirs s", "speed ratio", "ours CPU s", "theirs CPU s", "CPU ratio"],
    ...[...figures.keys()].map((name) => [
      name,
      rounded(median(of(name, "holdfast").map(seconds)), 3),
      rounded(median(of(name, "peer").map(seconds)), 3),
      rounded(1 / ratio(name, seconds)),
      rounded(median(of(name, "holdfast").map(cpu)), 3),
      rounded(median(of(name, "peer").map(cpu)), 3),
      rounded(ratio(name, cpu)),
    ]),
  ]);
  printTable([
    ["beside nginx", "ours s", "nginx s", "speed ratio", "ours CPU s", "nginx CPU s", "CPU ratio"],
    ...Object.keys(NGINX_WORKS).map((name) => [
      name,
      rounded(median(of(name, "holdfast").map(seconds)), 3),
      rounded(median(of(name, "nginx").map(seconds)), 3),
      rounded(1 / ratio(name, seconds, "nginx")),
      rounded(median(of(name, "holdfast").map(cpu)), 3),
      rounded(median(of(name, "nginx").map(cpu)), 3),
      rounded(ratio(name, cpu, "nginx")),
    ]),
  ]);
  printTable([
    ["take-over p99 ms", "its CPU ms", "KiB a waiting upload", "MiB re-sent after kill -9"],
    [
      rounded(own.takeover.p99Ms, 1),
      rounded(own.takeover.cpuMs, 1),
      rounded(own.waitingKib, 1),
      rounded(own.resentMib, 3),
    ],
  ]);
  return {
    put_speed_ratio: rounded(1 / ratio("put", seconds)),
    put_cpu_ratio: rounded(ratio("put", cpu)),
    chunk_speed_ratio: rounded(1 / ratio("chunks", seconds)),
    small_ratio: rounded(1 / ratio("small", seconds)),
    range_cpu_ratio: rounded(ratio("range", cpu)),
    nginx_put_speed_ratio: rounded(1 / ratio("put", seconds, "nginx")),
    nginx_put_cpu_ratio: rounded(ratio("put", cpu, "nginx")),
    nginx_range_cpu_ratio: rounded(ratio("range", cpu, "nginx")),
    takeover_p99_ms: rounded(own.takeover.p99Ms, 1),
    takeover_cpu_ms: rounded(own.takeover.cpuMs, 1),
    waiting_kib: rounded(own.waitingKib, 1),
    resent_mib: rounded(own.resentMib, 3),
  };
}
