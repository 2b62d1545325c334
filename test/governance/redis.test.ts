import { redisMissing, startRedis } from "../peers/redis.ts";
import { across } from "./across.ts";

across("redis", redisMissing(), async () => {
  const server = await startRedis();
  return {
    kind: "redis",
    port: server.port,
    at: (port) => `redis://127.0.0.1:${port ?? server.port}`,
    stop: () => server.stop(),
  };
});
