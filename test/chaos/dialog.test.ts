import { test } from "node:test";
import { postgresBinaries, startPostgres } from "../peers/postgres.ts";
import { redisMissing, startRedis } from "../peers/redis.ts";
import type { Chaos } from "./dialog-run.ts";
import { chaos } from "./dialog-run.ts";

const SMALL = { count: 4000, resets: 2, halfOpens: 2, replays: 1, kills: 1, moves: 1 };
const NAME = "cut, half-open, moved and its node killed: nothing is lost, doubled or reordered";

async function run(engine: Chaos["engine"], at?: string): Promise<void> {
  const seed = (Math.random() * 2 ** 32) >>> 0;
  process.stdout.write(`${engine} SEED=${seed}\n`);
  await chaos({ ...SMALL, engine, seed, ...(at !== undefined && { at }) });
}

test(`over LMDB and the embedded log: ${NAME}`, () => run("lmdb"));

test(`over Redis: ${NAME}`, { skip: redisMissing() }, async () => {
  const server = await startRedis();
  try {
    await run("redis", server.url);
  } finally {
    await server.stop();
  }
});

test(`over PostgreSQL: ${NAME}`, { skip: postgresMissing() }, async () => {
  const server = await startPostgres();
  try {
    await run("postgres", server.url);
  } finally {
    await server.stop();
  }
});

function postgresMissing(): string | undefined {
  if (postgresBinaries() !== undefined) return undefined;
  if (process.env["CI"] === "true") throw new Error("PostgreSQL is not installed, and CI must have it");
  return "PostgreSQL is not installed";
}
