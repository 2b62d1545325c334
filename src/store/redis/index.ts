import type { Clock } from "../../kernel/clock.ts";
import { systemClock } from "../../kernel/clock.ts";
import type { Durability } from "./durability.ts";
import type { IoredisClient, IoredisCluster } from "./ioredis-link.ts";
import type { NodeRedisClient, NodeRedisCluster } from "./node-redis-link.ts";
import { RedisStore } from "./store.ts";
import type { ClusterTarget, RedisTarget } from "./target.ts";
import { atLeast, checkedPrefix, connect } from "./target.ts";

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
  const settings = {
    prefix: checkedPrefix(options.prefix ?? "hf"),
    timeoutMs: atLeast("timeoutMs", options.timeoutMs ?? 250, 1),
    journalLimit: atLeast("journalLimit", options.journalLimit ?? 262_144, 1),
    heartbeatMs: atLeast("heartbeatMs", options.heartbeatMs ?? 500, 1),
    durable: options.durable,
    durableTimeoutMs: atLeast("durableTimeoutMs", options.durableTimeoutMs ?? 3000, 1),
    clock: options.clock ?? systemClock,
  };
  return new RedisStore(connect(target, settings.timeoutMs), settings);
}

export type {
  ClusterTarget,
  Durability,
  RedisTarget,
  IoredisClient,
  IoredisCluster,
  NodeRedisClient,
  NodeRedisCluster,
  RedisStore,
};
