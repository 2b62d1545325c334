import type { ClusterNode, ClusterOptions, RedisOptions as ConnectionOptions } from "ioredis";

import type { Clock } from "../../kernel/clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import { HoldfastError } from "../../kernel/errors.ts";
import type { Durability } from "./durability.ts";
import type { IoredisClient, IoredisCluster } from "./ioredis-link.ts";
import { connectCluster, connectSingle, connectUrl, likeIoredis } from "./ioredis-link.ts";
import type { RedisLink } from "./link.ts";
import type { NodeRedisClient, NodeRedisCluster } from "./node-redis-link.ts";
import { likeNodeRedis } from "./node-redis-link.ts";
import { RedisStore } from "./store.ts";

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

export interface RedisStoreOptions {
  /** Begins every key: letters, digits and `.:_-`; `hf` unless given. */
  readonly prefix?: string;
  /** Within how many milliseconds a call answers or rejects; 250 unless given. */
  readonly timeoutMs?: number;
  /** About how many journal entries are kept for followers; 262,144 unless given. Timelines are kept apart from it. */
  readonly journalLimit?: number;
  /** How often a follower makes sure that it misses nothing; 500 ms unless given. It hears of news at once. */
  readonly heartbeatMs?: number;
  /** What a `durable` acknowledgement rests on; found out from Redis unless given. */
  readonly durable?: Durability;
  /** How long WAITAOF may wait for the disk, beyond `timeoutMs`; 3,000 ms unless given. */
  readonly durableTimeoutMs?: number;
  /** For tickets that nobody took; the system's clock unless given. Time limits towards Redis are real time. */
  readonly clock?: Clock;
}

/**
 * Sessions in Redis 7.0 or Valkey or later: a single node, behind Sentinel, or a cluster. Returns at once; the first
 * calls wait for the connection, no longer than `timeoutMs`.
 * @throws HoldfastError `invalid-argument` for options out of range, or a target that is none of the above.
 */
export function redis(target: RedisTarget, options: RedisStoreOptions = {}): RedisStore {
  const timeoutMs = atLeast("timeoutMs", options.timeoutMs ?? 250, 1);
  return new RedisStore(connect(target, timeoutMs), {
    prefix: checkedPrefix(options.prefix ?? "hf"),
    timeoutMs,
    journalLimit: atLeast("journalLimit", options.journalLimit ?? 262_144, 1),
    heartbeatMs: atLeast("heartbeatMs", options.heartbeatMs ?? 500, 1),
    durable: options.durable,
    durableTimeoutMs: atLeast("durableTimeoutMs", options.durableTimeoutMs ?? 3000, 1),
    clock: options.clock ?? systemClock,
  });
}

function connect(target: RedisTarget, silenceMs: number): RedisLink {
  if (typeof target === "string") return connectUrl(target, silenceMs);
  if ("pipeline" in target && "call" in target) return likeIoredis(target, silenceMs);
  if ("sendCommand" in target && "duplicate" in target) return likeNodeRedis(target, silenceMs);
  if ("cluster" in target) return connectCluster([...target.cluster], target.options ?? {}, silenceMs);
  if ("duplicate" in target) throw misused("The client is neither one of ioredis nor one of node-redis.", {});
  return connectSingle(target, silenceMs);
}

function checkedPrefix(prefix: string): string {
  if (/^[\w.:-]{1,64}$/.test(prefix)) return prefix;
  throw misused("A key prefix is 1 to 64 letters, digits and .:_-", { prefix });
}

function atLeast(name: string, value: number, least: number): number {
  if (Number.isFinite(value) && value >= least) return value;
  throw misused(`${name} is a number from ${least} on.`, { [name]: value });
}

function misused(message: string, detail: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError("invalid-argument", message, { detail });
}

export type { Durability, IoredisClient, IoredisCluster, NodeRedisClient, NodeRedisCluster, RedisStore };
