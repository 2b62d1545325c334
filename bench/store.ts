import { compare, printTable, rounded } from "./harness.ts";
import type { Engine } from "./store/engine.ts";
import { sampleRecords } from "./store/engine.ts";
import { engine as lmdb } from "./store/lmdb.ts";
import { engine as memory } from "./store/memory.ts";
import { engine as postgres } from "./store/postgres.ts";
import { engine as redis } from "./store/redis.ts";

/** What our stores add to what they stand on: our look-up and our conditional update beside the driver's own. */
const ENGINES: readonly Engine[] = [memory, lmdb, redis, postgres];

export default async function store({ rounds = 7 }: { rounds?: number }): Promise<Record<string, unknown>> {
  const overhead: Record<string, { get: number | null; update: number | null } | null> = {};
  const rows: (string | number | null)[][] = [
    ["store", "work", "ours µs", "raw µs", "ratio", "ours cpu µs", "raw cpu µs", "cpu ratio"],
  ];
  for (const engine of ENGINES) {
    const prepared = await engine.prepare(sampleRecords(engine.size));
    if (prepared === undefined) {
      overhead[engine.name] = null;
      continue;
    }
    try {
      const get = await compare(prepared.get.ours, prepared.get.raw, engine.gets, rounds);
      const update = await compare(prepared.update.ours, prepared.update.raw, engine.updates, rounds);
      overhead[engine.name] = { get: rounded(get.ratio, 3), update: rounded(update.ratio, 3) };
      for (const [work, { ours, theirs, ratio, cpuRatio }] of Object.entries({ get, update })) {
        const figures = [
          ours.ns / 1000,
          theirs.ns / 1000,
          ratio,
          ours.cpuNs / 1000,
          theirs.cpuNs / 1000,
          cpuRatio,
        ];
        rows.push([engine.name, work, ...figures.map((value) => rounded(value))]);
      }
    } finally {
      await prepared.dispose();
    }
  }
  printTable(rows);
  return { overhead };
}
