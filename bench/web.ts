import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startRedis } from "../test/peers/redis.ts";
import { inTurn, median, medianRatio, printTable, rounded } from "./harness.ts";
import { load } from "./web/load.ts";

const VARIANTS = [
  "bare",
  "holdfast-memory",
  "holdfast-lmdb",
  "holdfast-redis",
  "iron-session",
  "express-bare",
  "express-holdfast-memory",
  "express-session-memory",
  "express-session-redis",
  "fastify-bare",
  "fastify-holdfast-memory",
  "fastify-session-memory",
] as const;
type Variant = (typeof VARIANTS)[number];

const REQUESTS = 6_000;
/** Until the compiler has done its work: by then what is left to measure is a tenth of what it was at first. */
const WARM_UP_MS = 2_000;

interface Target {
  readonly name: Variant;
  readonly child: ChildProcess;
  readonly port: number;
  readonly cookie: string;
  readonly cpuUs: number[];
  readonly perSecond: number[];
}

/** An authenticated GET: what each way to keep sessions adds to its own bare server, in CPU of the server's process. */
export default async function web(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const server = await startRedis();
  const targets: Target[] = [];
  try {
    // Each base with those that stand on it, and nobody else: a server that waits for eleven others is cold again.
    for (const base of ["bare", "express-bare", "fastify-bare"] as const) {
      const group: Target[] = [];
      for (const name of VARIANTS.filter((one) => baseOf(one) === base))
        group.push(await start(name, server.path));
      targets.push(...group);
      for (const target of group) await warmUp(target);
      for (let round = 0; round < (options.rounds ?? 5); round++) {
        for (const target of inTurn(group, round)) await measure(target);
      }
      for (const target of group) target.child.send("stop");
    }
    return report(new Map(targets.map((target) => [target.name, target])));
  } finally {
    for (const { child } of targets) if (child.connected) child.send("stop");
    await server.stop();
  }
}

function baseOf(name: Variant): Variant {
  if (name.startsWith("express-")) return "express-bare";
  return name.startsWith("fastify-") ? "fastify-bare" : "bare";
}

async function start(name: Variant, socket: string): Promise<Target> {
  const child = fork(fileURLToPath(new URL("./web/server.js", import.meta.url)), [name, socket]);
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  const response = await fetch(`http://127.0.0.1:${port}/login`);
  await response.text();
  const cookie =
    response.headers
      .getSetCookie()
      .map((line) => line.split(";", 1)[0])
      .join("; ") || "none=1";
  return { name, child, port, cookie, cpuUs: [], perSecond: [] };
}

async function warmUp(target: Target): Promise<void> {
  const until = performance.now() + WARM_UP_MS;
  while (performance.now() < until) await load(target.port, target.cookie, 2_000);
}

async function measure(target: Target): Promise<void> {
  const before = await cpuOf(target.child);
  const seconds = await load(target.port, target.cookie, REQUESTS);
  target.cpuUs.push(((await cpuOf(target.child)) - before) / REQUESTS);
  target.perSecond.push(REQUESTS / seconds);
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send("cpu");
  const [{ cpu }] = (await once(child, "message")) as [{ cpu: NodeJS.CpuUsage }];
  return cpu.user + cpu.system;
}

function report(targets: ReadonlyMap<Variant, Target>): Record<string, unknown> {
  const of = (name: Variant): Target => targets.get(name) as Target;
  const added = (name: Variant): number[] =>
    of(name).cpuUs.map((us, round) => us - (of(baseOf(name)).cpuUs[round] ?? 0));
  const shown = VARIANTS.map((name) => [
    name,
    rounded(median(of(name).cpuUs), 1),
    rounded(median(added(name)), 1),
    rounded(median(of(name).perSecond), 0),
    rounded(medianRatio(of(name).perSecond, of(baseOf(name)).perSecond), 2),
  ]);
  printTable([["server", "CPU µs/request", "added", "requests/s", "of bare"], ...shown]);
  // What we add is close to nothing, so a ratio is taken of medians: of single rounds it would be noise over noise.
  const times = (theirs: Variant, ours: Variant): number =>
    median(added(theirs)) / Math.max(0.1, median(added(ours)));
  return {
    added_us: {
      memory: rounded(median(added("holdfast-memory")), 1),
      lmdb: rounded(median(added("holdfast-lmdb")), 1),
      redis: rounded(median(added("holdfast-redis")), 1),
    },
    express_session_ratio: rounded(times("express-session-memory", "express-holdfast-memory"), 1),
    express_session_redis_ratio: rounded(times("express-session-redis", "holdfast-redis"), 1),
    iron_session_ratio: rounded(times("iron-session", "holdfast-redis"), 1),
    fastify_session_ratio: rounded(times("fastify-session-memory", "fastify-holdfast-memory"), 1),
    rps_ratio: rounded(medianRatio(of("holdfast-redis").perSecond, of("bare").perSecond), 2),
  };
}
