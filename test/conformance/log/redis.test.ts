import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import { redisLog } from "../../../src/store/redis/log.ts";
import { logConformance } from "../../../src/testing/log/index.ts";
import type { RedisServer } from "../../peers/redis.ts";
import { redisMissing, startRedis } from "../../peers/redis.ts";

const missing = redisMissing();

if (missing === undefined) {
  let server: RedisServer | undefined;
  before(async () => {
    server = await startRedis({ appendonly: "yes", appendfsync: "always" });
  });
  after(() => server?.stop());
  logConformance({
    name: "redis",
    strongest: "durable",
    async fresh() {
      if (server === undefined) throw new Error("the server was not started");
      const own = server;
      const prefix = `l${randomBytes(6).toString("hex")}`;
      return {
        open: async () => redisLog(own.path, { prefix, timeoutMs: 2000 }),
        worker: {
          module: new URL("./redis-worker.js", import.meta.url).href,
          input: `${own.path} ${prefix}`,
        },
        outage: async () => {
          await own.kill();
          return () => own.start();
        },
        dispose: async () => void (await own.client.flushall()),
      };
    },
  });
} else {
  test("redis: the log conformance suite", { skip: missing }, () => undefined);
}
