import { HoldfastError } from "../../kernel/errors.ts";
import { errorWord, unavailable } from "./faults.ts";
import type { Shard } from "./layout.ts";
import type { Command, RedisLink } from "./link.ts";
import type { RoundTrips, Sender } from "./round-trips.ts";
import { listOf, numberOf, textOf } from "./stored.ts";

/**
 * What a durable acknowledgement rests on: `aof-always`: Redis writes each change to disk before it answers
 * (appendonly yes, appendfsync always); `waitaof`: Redis 7.2 says when it has (WAITAOF); `none`: nothing can promise it.
 */
export type Durability = "aof-always" | "waitaof" | "none";

/** Sends durable writes, and finds out once what Redis can promise. */
export class DurableWrites {
  readonly #trips: RoundTrips;
  readonly #waitMs: number;
  #promise: Promise<Durability> | undefined;
  #lane: RedisLink | undefined;
  readonly #groups = new Map<number, Group>();

  constructor(trips: RoundTrips, asserted: Durability | undefined, waitMs: number) {
    this.#trips = trips;
    this.#waitMs = waitMs;
    if (asserted !== undefined) this.#promise = Promise.resolve(asserted);
  }

  /** What Redis promises; asked for once, and again after a failure. */
  promised(): Promise<Durability> {
    this.#promise ??= detect(this.#trips).catch((error: unknown) => {
      this.#promise = undefined;
      throw error;
    });
    return this.#promise;
  }

  /**
   * How a durable write must be sent; `undefined`: like any other.
   * @throws HoldfastError `unsupported` when this Redis cannot promise it.
   */
  async sender(): Promise<Sender | undefined> {
    const promised = await this.promised();
    if (promised === "aof-always") return undefined;
    if (promised === "waitaof") return this.#sendAndWait;
    throw new HoldfastError(
      "unsupported",
      'This Redis cannot promise that a write survives a power loss: set "appendonly yes" with "appendfsync always", or "appendonly yes" on Redis 7.2 or later, or ask for ack "visible".',
      { detail: { durability: promised } },
    );
  }

  close(): void {
    this.#lane?.close();
  }

  /**
   * WAITAOF holds up the whole connection until the disk has everything written on it, so that durable writes have one
   * of their own, and those that come while one group is waiting make the next.
   */
  readonly #sendAndWait: Sender = (shard, command) =>
    new Promise((resolve, reject) => {
      const place = this.#trips.link.topology === "single" ? 0 : shard.index;
      let group = this.#groups.get(place);
      if (group === undefined) {
        group = { shard, writes: [], busy: false };
        this.#groups.set(place, group);
      }
      group.writes.push({ command, resolve, reject });
      if (!group.busy) void this.#drain(group);
    });

  async #drain(group: Group): Promise<void> {
    group.busy = true;
    this.#lane ??= this.#trips.link.fork(2 * this.#waitMs);
    while (group.writes.length > 0) {
      const writes = group.writes.splice(0);
      const commands = [...writes.map((write) => write.command), ["WAITAOF", 1, 0, this.#waitMs] as const];
      try {
        const replies = await connected(this.#lane, this.#waitMs).then((lane) =>
          lane.batch(group.shard.meta, commands),
        );
        const [local] = replies.at(-1) instanceof Error ? [0] : listOf(replies.at(-1));
        writes.forEach((write, i) => {
          const reply = replies[i];
          if (reply instanceof Error) write.reject(reply);
          else if (numberOf(local) < 1)
            write.reject(unavailable("Redis did not say that the write is on disk", "WAITAOF"));
          else write.resolve(reply);
        });
      } catch (error) {
        for (const write of writes) write.reject(error);
      }
    }
    group.busy = false;
  }
}

interface Group {
  readonly shard: Shard;
  readonly writes: Pending[];
  busy: boolean;
}

interface Pending {
  readonly command: Command;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

function connected(link: RedisLink, ms: number): Promise<RedisLink> {
  if (link.ready) return Promise.resolve(link);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(unavailable("Redis cannot be reached", `no connection within ${ms} ms`)),
      ms,
    );
    link.onReady(() => {
      clearTimeout(timer);
      resolve(link);
    });
  });
}

/** The weakest promise of all masters. Where CONFIG is not allowed, INFO still tells the version and whether there is an AOF. */
async function detect(trips: RoundTrips): Promise<Durability> {
  const [settings, infos] = await Promise.all([
    trips.survey(["CONFIG", "GET", "append*"]),
    trips.survey(["INFO", "everything"]),
  ]);
  if (settings.length > 0 && settings.every(syncsAlways)) return "aof-always";
  return infos.length > 0 && infos.every(canWait) ? "waitaof" : "none";
}

function syncsAlways(reply: unknown): boolean {
  if (isRefusal(reply)) return false;
  const settings = settingsOf(reply);
  return settings.get("appendonly") === "yes" && settings.get("appendfsync") === "always";
}

function canWait(reply: unknown): boolean {
  if (isRefusal(reply)) return false;
  const info = textOf(reply);
  const version = /^(?:valkey_version|redis_version):(\d+)\.(\d+)/m.exec(info);
  const recent = version !== null && Number(version[1]) * 100 + Number(version[2]) >= 702;
  return recent && /^aof_enabled:1/m.test(info);
}

/** A command that this user, or this service, does not have. @throws Error any other: the answer is not known then. */
function isRefusal(reply: unknown): boolean {
  if (!(reply instanceof Error)) return false;
  const word = errorWord(reply);
  if (word === "NOPERM" || word === "ERR") return true;
  throw reply;
}

/** CONFIG GET answers a flat list, or with RESP3 a map. */
function settingsOf(reply: unknown): ReadonlyMap<unknown, unknown> {
  if (reply instanceof Map) return reply;
  if (typeof reply === "object" && reply !== null && !Array.isArray(reply))
    return new Map(Object.entries(reply));
  const flat = listOf(reply);
  return new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]] as const] : [])));
}
