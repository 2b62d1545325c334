import type { ClusterNode, ClusterOptions, RedisOptions as ConnectionOptions } from "ioredis";

import { HoldfastError } from "../../kernel/errors.ts";
import type { IoredisClient, IoredisCluster } from "./ioredis-link.ts";
import { connectCluster, connectSingle, connectUrl, likeIoredis } from "./ioredis-link.ts";
import type { RedisLink } from "./link.ts";
import type { NodeRedisClient, NodeRedisCluster } from "./node-redis-link.ts";
import { likeNodeRedis } from "./node-redis-link.ts";

/** Nodes of a cluster to begin with; the others are learnt from them. */
export interface ClusterTarget {
  readonly cluster: readonly ClusterNode[];
  readonly options?: ClusterOptions;
}

/**
 * Where Redis is: an address (`redis://…`, `rediss://…`, `/path/of/socket`), ioredis' connection options (Sentinel
 * included), the nodes of a cluster, or a client of ioredis or node-redis that the application has. From a client only
 * the way there is taken: the store opens connections of its own, and leaves the client alone.
 */
export type RedisTarget =
  | string
  | ConnectionOptions
  | ClusterTarget
  | IoredisClient
  | IoredisCluster
  | NodeRedisClient
  | NodeRedisCluster;

export function connect(target: RedisTarget, silenceMs: number): RedisLink {
  if (typeof target === "string") return connectUrl(target, silenceMs);
  if ("pipeline" in target && "call" in target) return likeIoredis(target, silenceMs);
  if ("sendCommand" in target && "duplicate" in target) return likeNodeRedis(target, silenceMs);
  if ("cluster" in target) return connectCluster([...target.cluster], target.options ?? {}, silenceMs);
  if ("duplicate" in target) throw misused("The client is neither one of ioredis nor one of node-redis.", {});
  return connectSingle(target, silenceMs);
}

export function checkedPrefix(prefix: string): string {
  if (/^[\w.:-]{1,64}$/.test(prefix)) return prefix;
  throw misused("A key prefix is 1 to 64 letters, digits and .:_-", { prefix });
}

export function atLeast(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw misused(`${name} is a number from ${least} on.`, { [name]: value });
}

function misused(message: string, detail: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError("invalid-argument", message, { detail });
}
