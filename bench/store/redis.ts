import { Redis } from "ioredis";

import type { JournalDraft } from "../../src/kernel/journal.ts";
import type { SessionRecord } from "../../src/kernel/record.ts";
import { dueAt } from "../../src/kernel/record.ts";
import type { CredentialKey } from "../../src/kernel/secret.ts";
import { redis } from "../../src/store/redis/index.ts";
import { redisMissing, startRedis } from "../../test/peers/redis.ts";
import type { Side } from "../harness.ts";
import type { Engine } from "./engine.ts";
import { fill, KeyTour, updating } from "./engine.ts";

/** Requests under way at once. */
const WIDTH = 50;

/**
 * Beside ioredis used directly, as a careful program would: one script for a look-up, one for a conditional update with
 * its deadline, journal and timeline. The raw side makes a call for each; ours sends the look-ups of one turn of the
 * event loop in one call: less work in all, but while one side has the batch the other waits, so that its wall time beside
 * the raw side's hangs on whether client and server have a processor each. The raw side keeps all sessions in one place,
 * has no time limit for an answer, and tells nobody of its journal.
 */
export const engine: Engine = {
  name: "redis",
  size: 5000,
  gets: 10_000,
  updates: 5000,
  async prepare(records) {
    if (redisMissing() !== undefined) return undefined;
    const server = await startRedis();
    const store = redis({ path: server.path }, { timeoutMs: 5000 });
    const raw = await RawSessions.open(server.path, records);
    await fill(store, records);
    return {
      get: {
        ours: finding(records, async (key) => (await store.find(key)) !== undefined),
        raw: finding(records, async (key) => (await raw.find(key)) !== undefined),
      },
      update: {
        ours: updating(records, WIDTH, async ({ prev, next, entry }) => {
          return (await store.update(prev, next, [entry])) === "updated";
        }),
        raw: updating(records, WIDTH, ({ prev, next, entry }) => raw.update(prev, next, entry)),
      },
      async dispose() {
        raw.close();
        await store.close();
        await server.stop();
      },
    };
  },
};

/** `count` look-ups, so many at once, each of which must find its session. */
function finding(records: readonly SessionRecord[], find: (key: CredentialKey) => Promise<boolean>): Side {
  const tour = new KeyTour(records);
  return async (count) => {
    let left = count;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        if (!(await find(tour.take()))) throw new Error("a session that is there was not found");
      }
    };
    await Promise.all(Array.from({ length: WIDTH }, lane));
  };
}

class RawSessions {
  readonly #client: Redis;
  readonly #find: string;
  readonly #update: string;

  static async open(path: string, records: readonly SessionRecord[]): Promise<RawSessions> {
    const client = new Redis({ path });
    const scripts = await Promise.all([client.script("LOAD", FIND), client.script("LOAD", UPDATE)]);
    for (const record of records) {
      await client
        .pipeline()
        .hset("k", record.credentials.current ?? "", record.handle)
        .hset("r", record.handle, stored(record))
        .zadd("d", dueAt(record) ?? 0, record.handle)
        .exec();
    }
    return new RawSessions(client, String(scripts[0]), String(scripts[1]));
  }

  private constructor(client: Redis, find: string, update: string) {
    this.#client = client;
    this.#find = find;
    this.#update = update;
  }

  async find(key: CredentialKey): Promise<{ record: SessionRecord; epoch: number } | undefined> {
    const reply = await this.#client.evalsha(this.#find, 3, "k", "r", "e", key);
    const [value, epoch] = reply as [string | null, string | null];
    if (value === null) return undefined;
    return {
      record: JSON.parse(value.slice(value.indexOf("{"))) as SessionRecord,
      epoch: Number(epoch ?? 0),
    };
  }

  async update(prev: SessionRecord, next: SessionRecord, entry: JournalDraft): Promise<boolean> {
    const { handle } = prev;
    const args = [handle, prev.version, stored(next), dueAt(next) ?? 0, JSON.stringify(entry)];
    return (await this.#client.evalsha(this.#update, 4, "r", "d", "j", `t:${handle}`, ...args)) === 1;
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
local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', 262144, '*', 'e', ARGV[5])
redis.call('RPUSH', KEYS[4], id .. ' ' .. ARGV[5])
redis.call('LTRIM', KEYS[4], -1000, -1)
return 1`;

function stored(record: SessionRecord): string {
  return `${record.version}:${record.principal ?? ""}:${JSON.stringify(record)}`;
}
