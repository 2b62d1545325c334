import type { BenchOptions, Figures } from "./harness.ts";
import { compare, printTable, rounded } from "./harness.ts";
import type { Engine } from "./store/engine.ts";
import { sampleRecords } from "./store/engine.ts";
import { engine as lmdb } from "./store/lmdb.ts";
import { engine as memory } from "./store/memory.ts";
import { engine as redis } from "./store/redis.ts";

/** What our stores add to what they stand on: our look-up and our conditional update beside the driver's own. */
const ENGINES: readonly Engine[] = [memory, lmdb, redis];

export default async function store({ rounds = 7 }: BenchOptions): Promise<Figures> {
  const overhead: Record<string, { get: number; update: number } | null> = {};
  const rows: Record<string, string | number>[] = [];
  for (const engine of ENGINES) {
    const records = sampleRecords(engine.size);
    const prepared = await engine.prepare(records);
    if (prepared === undefined) {
      overhead[engine.name] = null;
      continue;
    }
    try {
      const get = await compare(prepared.get.ours, prepared.get.raw, engine.gets, rounds);
      const update = await compare(prepared.update.ours, prepared.update.raw, engine.updates, rounds);
      overhead[engine.name] = { get: rounded(get.ratio), update: rounded(update.ratio) };
      for (const [work, { ours, theirs, ratio, cpuRatio }] of Object.entries({ get, update })) {
        rows.push({
          store: engine.name,
          work,
          "ours µs": ours.ns / 1000,
          "raw µs": theirs.ns / 1000,
          ratio: ratio,
          "ours cpu µs": ours.cpuNs / 1000,
          "raw cpu µs": theirs.cpuNs / 1000,
          "cpu ratio": cpuRatio,
        });
      }
    } finally {
      await prepared.dispose();
    }
  }
  printTable(rows);
  return { overhead };
}
