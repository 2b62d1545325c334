import { test } from "node:test";
import { startPostgres } from "../peers/postgres.ts";
import { startRedis } from "../peers/redis.ts";
import type { Chaos } from "./dialog-run.ts";
import { chaos } from "./dialog-run.ts";

/** How often each engine goes through it; the seed of the first is given by SEED, and each after it is one more. */
const REPEATS = Number(process.env["REPEATS"] ?? 20);
const SEED = Number(process.env["SEED"] ?? (Math.random() * 2 ** 31) >>> 0);
const FULL = { count: 100_000, resets: 8, halfOpens: 8, replays: 3, kills: 2, moves: 2 };

async function run(engine: Chaos["engine"], at?: string): Promise<void> {
  for (let turn = 0; turn < REPEATS; turn++) {
    const seed = SEED + turn;
    process.stdout.write(`${engine} SEED=${seed} …\n`);
    const { seconds, links, repeats } = await chaos({
      ...FULL,
      engine,
      seed,
      ...(at !== undefined && { at }),
    });
    process.stdout.write(
      `${engine} SEED=${seed}: ${seconds.toFixed(1)} s, ${links} links, 0 lost, 0 doubled, 0 out of order; ${repeats} came again to a node and were known\n`,
    );
  }
}

test("100,000 messages each way over LMDB and the embedded log", () => run("lmdb"));

test("100,000 messages each way over Redis", async () => {
  const server = await startRedis();
  await run("redis", server.url).finally(() => server.stop());
});

test("100,000 messages each way over PostgreSQL", async () => {
  const server = await startPostgres({ fsync: true });
  await run("postgres", server.url).finally(() => server.stop());
});
