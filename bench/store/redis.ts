import { Redis } from "ioredis";

import type { SessionRecord } from "../../src/kernel/record.ts";
import type { CredentialKey } from "../../src/kernel/secret.ts";
import { redis } from "../../src/store/redis/index.ts";
import { entryOf, following, put, sampleRecord } from "../../src/testing/store/samples.ts";
import { startRedis } from "../../test/peers/redis.ts";

const SESSIONS = 2000;
const WIDTH = 32;
const CALLS = 4000;

/**
 * The Redis store beside ioredis doing the same work by hand: a look-up of a session and its principal's epoch in one
 * round trip, and a conditional update with its deadline, timeline and journal in one. Answers our time and our
 * processor time, each ÷ theirs, as medians over the rounds.
 */
export default async function benchRedis(
  options: { rounds?: number } = {},
): Promise<Record<string, unknown>> {
  const server = await startRedis();
  const store = redis({ path: server.path }, { timeoutMs: 2000 });
  const raw = await RawSessions.open(server.path);
  try {
    const ours: SessionRecord[] = [];
    const theirs: SessionRecord[] = [];
    for (let i = 0; i < SESSIONS; i++) {
      ours.push(await put(store, sampleRecord({ principal: `p${i}`, data: { note: "x".repeat(200) } })));
      const record = sampleRecord({ principal: `p${i}`, data: { note: "x".repeat(200) } });
      theirs.push(record);
      await raw.create(record);
    }
    const getOurs = async (i: number): Promise<void> => {
      if ((await store.find(keyOf(ours[i]))) === undefined) throw new Error("a session is missing");
    };
    const getTheirs = async (i: number): Promise<void> => {
      if ((await raw.find(keyOf(theirs[i]))) === undefined) throw new Error("a session is missing");
    };
    const updateOurs = async (i: number): Promise<void> => {
      const next = moved(ours[i]);
      const outcome = await store.update(at(ours, i), next, [entryOf(next, "update")]);
      if (outcome !== "updated") throw new Error(outcome);
      ours[i] = next;
    };
    const updateTheirs = async (i: number): Promise<void> => {
      const next = moved(theirs[i]);
      if (!(await raw.update(at(theirs, i), next))) throw new Error("conflict");
      theirs[i] = next;
    };
    const get = await compare(options.rounds ?? 7, getOurs, getTheirs);
    const update = await compare(options.rounds ?? 7, updateOurs, updateTheirs);
    console.table({ "redis get": get, "redis conditional update": update });
    return {
      redis_get: get.timeRatio,
      redis_update: update.timeRatio,
      redis_get_cpu: get.cpuRatio,
      redis_update_cpu: update.cpuRatio,
      redis: Math.max(get.timeRatio, update.timeRatio),
    };
  } finally {
    raw.close();
    await store.close();
    await server.stop();
  }
}

interface Comparison {
  readonly oursUs: number;
  readonly theirsUs: number;
  readonly timeRatio: number;
  readonly cpuRatio: number;
}

type Work = (i: number) => Promise<void>;

async function compare(rounds: number, ours: Work, theirs: Work): Promise<Comparison> {
  const times: [Measure, Measure][] = [];
  await measure(ours);
  await measure(theirs);
  for (let round = 0; round < rounds; round++) {
    const first = await measure(round % 2 === 0 ? ours : theirs);
    const second = await measure(round % 2 === 0 ? theirs : ours);
    times.push(round % 2 === 0 ? [first, second] : [second, first]);
  }
  return {
    oursUs: round2(median(times.map(([one]) => one.us))),
    theirsUs: round2(median(times.map(([, other]) => other.us))),
    timeRatio: round2(median(times.map(([one, other]) => one.us / other.us))),
    cpuRatio: round2(median(times.map(([one, other]) => one.cpuUs / other.cpuUs))),
  };
}

interface Measure {
  readonly us: number;
  readonly cpuUs: number;
}

/** Each session is worked on by one caller at a time, so that no update conflicts. */
async function measure(work: Work): Promise<Measure> {
  const startedAt = performance.now();
  const cpu = process.cpuUsage();
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < CALLS) await work(next++ % SESSIONS);
  };
  await Promise.all(Array.from({ length: WIDTH }, lane));
  const { user, system } = process.cpuUsage(cpu);
  return { us: ((performance.now() - startedAt) * 1000) / CALLS, cpuUs: (user + system) / CALLS };
}

/** What a careful program would write with ioredis for the same: two scripts, JSON, and nothing else. */
class RawSessions {
  readonly #client: Redis;
  readonly #find: string;
  readonly #update: string;

  static async open(path: string): Promise<RawSessions> {
    const client = new Redis({ path });
    return new RawSessions(
      client,
      String(await client.script("LOAD", FIND)),
      String(await client.script("LOAD", UPDATE)),
    );
  }

  private constructor(client: Redis, find: string, update: string) {
    this.#client = client;
    this.#find = find;
    this.#update = update;
  }

  async create(record: SessionRecord): Promise<void> {
    await this.#client.hset("{raw}k", keyOf(record), record.handle);
    await this.#client.hset(
      "{raw}r",
      record.handle,
      `${record.version}:${record.principal}:${JSON.stringify(record)}`,
    );
  }

  async find(key: CredentialKey): Promise<{ record: SessionRecord; epoch: number } | undefined> {
    const reply = await this.#client.evalsha(this.#find, 3, "{raw}k", "{raw}r", "{raw}e", key);
    const [value, epoch] = reply as [string | null, string | null];
    if (value === null) return undefined;
    return {
      record: JSON.parse(value.slice(value.indexOf("{"))) as SessionRecord,
      epoch: Number(epoch ?? 0),
    };
  }

  async update(prev: SessionRecord, next: SessionRecord): Promise<boolean> {
    const keys = ["{raw}r", "{raw}d", "{raw}j", `{raw}t:${prev.handle}`];
    const value = `${next.version}:${next.principal}:${JSON.stringify(next)}`;
    const entry = JSON.stringify(entryOf(next, "update"));
    const reply = await this.#client.evalsha(
      this.#update,
      4,
      ...keys,
      prev.handle,
      prev.version,
      value,
      next.idleAt ?? 0,
      entry,
    );
    return reply === 1;
  }

  close(): void {
    this.#client.disconnect();
  }
}

const FIND = `
local handle = redis.call('HGET', KEYS[1], ARGV[1])
local value = handle and redis.call('HGET', KEYS[2], handle)
if not value then return {false, false} end
return {value, redis.call('HGET', KEYS[3], string.match(value, '^%d+:([^:]*):'))}`;

const UPDATE = `
local value = redis.call('HGET', KEYS[1], ARGV[1])
if not value or string.match(value, '^%d+') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', 4096, '*', 'e', ARGV[5])
redis.call('RPUSH', KEYS[4], id .. ' ' .. ARGV[5])
redis.call('LTRIM', KEYS[4], -1000, -1)
return 1`;

function moved(record: SessionRecord | undefined): SessionRecord {
  if (record === undefined) throw new Error("no such session");
  return following(record, { idleAt: (record.idleAt ?? 0) + 1000 });
}

function keyOf(record: SessionRecord | undefined): CredentialKey {
  const key = record?.credentials.current;
  if (key === undefined) throw new Error("a sample has a key");
  return key;
}

function at(records: readonly SessionRecord[], i: number): SessionRecord {
  const record = records[i];
  if (record === undefined) throw new Error(`no session ${i}`);
  return record;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function round2(value: number): number {
  return Math.round(value * 100) / 100;
}
