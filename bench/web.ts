import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { startRedis } from "../test/peers/redis.ts";
import { inTurn, median, printTable, rounded } from "./harness.ts";
import { load } from "./web/load.ts";
import type { Variant } from "./web/variants.ts";
import { baseOf, VARIANTS } from "./web/variants.ts";

/**
 * How long each side is under load in one round: short, so that what the machine does meanwhile falls on both; longer for
 * Express, whose requests leave much to collect, now on one side and now on the other.
 */
const ROUND_MS = { node: 100, express: 250, fastify: 100 } as const;
/** As much again before it, so that nobody is measured who was asleep while others took their turn. */
const WAKE_UP = 0.1;
/** Until the compiler has done its work: by then what is left to measure is a tenth of what it was at first. */
const WARM_UP_MS = 700;

interface Target {
  readonly name: Variant;
  readonly child: ChildProcess;
  readonly port: number;
  readonly basePort: number;
  readonly cookie: string;
  /** Of each side in one round. */
  requests: number;
  readonly rounds: Round[];
}

interface Round {
  readonly cpuUs: number;
  /** What of it the same server takes without sessions. */
  readonly baseUs: number;
  readonly rps: number;
  readonly baseRps: number;
}

/**
 * An authenticated GET: what each way to keep sessions adds to the same server without, in CPU of the process. Both are
 * served by one process and measured one right after the other.
 */
export default async function web(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const server = await startRedis();
  const targets: Target[] = [];
  try {
    for (const name of VARIANTS) targets.push(await start(name, server.path));
    for (const target of targets) await warmUp(target);
    for (let round = 0; round < (options.rounds ?? 15); round++) {
      for (const target of inTurn(targets, round)) target.rounds.push(await measure(target, round));
    }
    return report(new Map(targets.map((target) => [target.name, target.rounds])));
  } finally {
    for (const { child } of targets) child.send("stop");
    await server.stop();
  }
}

async function start(name: Variant, socket: string): Promise<Target> {
  const child = fork(fileURLToPath(new URL("./web/server.js", import.meta.url)), [name, socket]);
  const [{ port, basePort }] = (await once(child, "message")) as [{ port: number; basePort: number }];
  const response = await fetch(`http://127.0.0.1:${port}/login`);
  await response.text();
  const cookie = response.headers
    .getSetCookie()
    .map((line) => line.split(";", 1)[0])
    .join("; ");
  return { name, child, port, basePort, cookie, requests: 0, rounds: [] };
}

async function warmUp(target: Target): Promise<void> {
  for (const port of [target.basePort, target.port]) {
    const until = performance.now() + WARM_UP_MS;
    while (performance.now() < until) {
      const seconds = await load(port, target.cookie, 1_000);
      target.requests = Math.round((1_000 / seconds) * (ROUND_MS[baseOf(target.name)] / 1_000));
    }
  }
}

async function measure(target: Target, round: number): Promise<Round> {
  const cost = { [target.port]: { us: 0, rps: 0 }, [target.basePort]: { us: 0, rps: 0 } };
  const { requests } = target;
  for (const port of inTurn([target.port, target.basePort], round)) {
    await load(port, target.cookie, Math.ceil(requests * WAKE_UP));
    const before = await cpuOf(target.child);
    const seconds = await load(port, target.cookie, requests);
    const us = ((await cpuOf(target.child)) - before) / requests;
    cost[port] = { us, rps: requests / seconds };
  }
  const [own, base] = [cost[target.port], cost[target.basePort]];
  return {
    cpuUs: own?.us ?? Number.NaN,
    baseUs: base?.us ?? Number.NaN,
    rps: own?.rps ?? Number.NaN,
    baseRps: base?.rps ?? Number.NaN,
  };
}

async function cpuOf(child: ChildProcess): Promise<number> {
  child.send("cpu");
  const [{ cpu }] = (await once(child, "message")) as [{ cpu: NodeJS.CpuUsage }];
  return cpu.user + cpu.system;
}

function report(targets: ReadonlyMap<Variant, readonly Round[]>): Record<string, unknown> {
  const of = (name: Variant): readonly Round[] => targets.get(name) ?? [];
  const added = (name: Variant): number => median(of(name).map(({ cpuUs, baseUs }) => cpuUs - baseUs));
  const rpsRatio = (name: Variant): number => median(of(name).map(({ rps, baseRps }) => rps / baseRps));
  const shown = VARIANTS.map((name) => [
    name,
    rounded(median(of(name).map(({ cpuUs }) => cpuUs)), 1),
    rounded(added(name), 1),
    rounded(median(of(name).map(({ rps }) => rps)), 0),
    rounded(rpsRatio(name), 2),
  ]);
  printTable([["server", "CPU µs/request", "added", "requests/s", "of bare"], ...shown]);
  // What we add is close to nothing, so a ratio is taken of medians: of single rounds it would be noise over noise.
  const times = (theirs: Variant, ours: Variant): number => added(theirs) / Math.max(0.1, added(ours));
  return {
    added_us: {
      memory: rounded(added("holdfast-memory"), 1),
      lmdb: rounded(added("holdfast-lmdb"), 1),
      redis: rounded(added("holdfast-redis"), 1),
    },
    // Each over the server it is meant for: Express is what express-session cannot do without.
    express_session_ratio: rounded(times("express-session-memory", "holdfast-memory"), 1),
    express_session_redis_ratio: rounded(times("express-session-redis", "holdfast-redis"), 1),
    // Both as a middleware of Express, which takes more than all that ours does.
    on_express_ratio: rounded(times("express-session-memory", "express-holdfast-memory"), 1),
    iron_session_ratio: rounded(times("iron-session", "holdfast-redis"), 1),
    fastify_session_ratio: rounded(times("fastify-session-memory", "fastify-holdfast-memory"), 1),
    rps_ratio: rounded(rpsRatio("holdfast-redis"), 2),
  };
}
