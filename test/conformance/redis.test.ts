import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { storeConformance } from "../../src/testing/store/index.ts";
import type { RedisServer } from "../peers/redis.ts";
import { redisMissing, startRedis } from "../peers/redis.ts";
import type { Place } from "./redis-worker.ts";
import { openAt } from "./redis-worker.ts";

const missing = redisMissing();

if (missing === undefined) {
  for (const kind of ["ioredis", "node-redis"] as const) suite(kind);
} else {
  test("redis: the store conformance suite", { skip: missing }, () => undefined);
}

function suite(kind: "ioredis" | "node-redis"): void {
  let server: RedisServer | undefined;
  before(async () => {
    server = await startRedis({ appendonly: "yes", appendfsync: "always" });
  });
  after(() => server?.stop());

  storeConformance({
    name: `redis over ${kind}`,
    // The races are between scripts in Redis: once in full, and once more with the other library.
    trials: kind === "ioredis" ? 10_000 : 2000,
    async fresh() {
      if (server === undefined) throw new Error("the server was not started");
      const { path } = server;
      const place: Place = { kind, path, prefix: `t${randomBytes(6).toString("hex")}` };
      const own = server;
      return {
        open: async (options = {}) => openAt(place, options),
        worker: { module: new URL("./redis-worker.js", import.meta.url).href, input: place },
        outage: async () => {
          await own.kill();
          return () => own.start();
        },
        dispose: async () => void (await own.client.flushall()),
      };
    },
  });
}
