import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";

import { storeConformance } from "../../src/testing/store/index.ts";
import type { RedisCluster } from "../peers/redis.ts";
import { redisMissing, startRedisCluster } from "../peers/redis.ts";
import type { Place } from "./redis-worker.ts";
import { openAt } from "./redis-worker.ts";

const missing = redisMissing();

if (missing === undefined) {
  let cluster: RedisCluster | undefined;
  before(async () => {
    cluster = await startRedisCluster({ appendonly: "yes", appendfsync: "always" });
  });
  after(() => cluster?.stop());

  storeConformance({
    name: "redis cluster",
    trials: 1000,
    async fresh() {
      if (cluster === undefined) throw new Error("the cluster was not started");
      const own = cluster;
      const ports = own.nodes.map(({ port }) => port);
      const place: Place = { kind: "cluster", ports, prefix: `t${randomBytes(6).toString("hex")}` };
      return {
        open: async (options = {}) => openAt(place, options),
        worker: { module: new URL("./redis-worker.js", import.meta.url).href, input: place },
        outage: async () => {
          await Promise.all(own.servers.map((server) => server.kill()));
          return async () => void (await Promise.all(own.servers.map((server) => server.start())));
        },
        dispose: () => own.flush(),
      };
    },
  });
} else {
  test("redis cluster: the store conformance suite", { skip: missing }, () => undefined);
}
