import { HoldfastError } from "../../kernel/errors.ts";
import type {
  AppendOutcome,
  LogAck,
  LogBatch,
  LogEntry,
  ReadLimits,
  SessionLog,
  StreamState,
} from "../../kernel/log.ts";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle, shardOfHandle } from "../../kernel/secret.ts";
import { StreamLanes } from "../stream-lanes.ts";
import type { Durability } from "./durability.ts";
import { DurableWrites } from "./durability.ts";
import { Layout } from "./layout.ts";
import { APPEND_ENTRIES, DROP_STREAM, OPEN_STREAM } from "./log-scripts.ts";
import { RoundTrips } from "./round-trips.ts";
import { listOf, numberOf, textOf } from "./stored.ts";
import type { RedisTarget } from "./target.ts";
import { atLeast, checkedPrefix, connect } from "./target.ts";

export interface RedisLogOptions {
  /** Begins every key; may be the session store's. `hf` unless given. */
  readonly prefix?: string;
  /** Within how many milliseconds a call answers or rejects; 250 unless given. */
  readonly timeoutMs?: number;
  /** What a `durable` acknowledgement rests on; found out from Redis unless given. */
  readonly durable?: Durability;
  /** How long WAITAOF may wait for the disk, beyond `timeoutMs`; 3,000 ms unless given. */
  readonly durableTimeoutMs?: number;
}

/**
 * Streams in Redis 7.0 or Valkey or later, one Redis Stream a session with ids of our own. Every append is one script, that
 * a process which lost the stream cannot pass.
 */
export function redisLog(target: RedisTarget, options: RedisLogOptions = {}): SessionLog {
  const timeoutMs = atLeast("timeoutMs", options.timeoutMs ?? 250, 1);
  const trips = new RoundTrips(connect(target, timeoutMs), timeoutMs);
  const waitMs = atLeast("durableTimeoutMs", options.durableTimeoutMs ?? 3000, 1);
  return new RedisLog(trips, new Layout(checkedPrefix(options.prefix ?? "hf")), options.durable, waitMs);
}

class RedisLog implements SessionLog {
  readonly kind = "redis";
  readonly reach = "network";
  readonly #trips: RoundTrips;
  readonly #layout: Layout;
  readonly #durable: DurableWrites;
  readonly #lanes = new StreamLanes((...call) => this.#send(...call));
  readonly #counts = { appends: 0, entries: 0, reads: 0 };

  constructor(trips: RoundTrips, layout: Layout, durable: Durability | undefined, waitMs: number) {
    this.#trips = trips;
    this.#layout = layout;
    this.#durable = new DurableWrites(trips, durable, waitMs);
  }

  async open(handle: Handle, epoch: number): Promise<StreamState | "fenced"> {
    const shard = this.#layout.at(shardOfHandle(handle));
    const keys = [shard.streamState(handle), shard.streams];
    const { outcome, rest } = await this.#trips.write(OPEN_STREAM, shard, keys, [epoch, handle]);
    if (outcome === "fenced") return "fenced";
    const [first, next, mark] = rest;
    const text = textOf(mark);
    return {
      first: numberOf(first),
      next: numberOf(next),
      ...(text !== "" && { mark: Buffer.from(text, "base64") }),
    };
  }

  append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    return this.#lanes.append(handle, epoch, batch, ack);
  }

  async read(handle: Handle, from: number, limits: ReadLimits): Promise<readonly LogEntry[]> {
    const shard = this.#layout.at(shardOfHandle(handle));
    const found: LogEntry[] = [];
    let size = 0;
    let at = from;
    for (;;) {
      const count = Math.min(PAGE, limits.entries - found.length);
      if (count <= 0) return found;
      this.#counts.reads++;
      const reply = await this.#trips.ask(shard, [
        "XRANGE",
        shard.stream(handle),
        `${at + 1}-0`,
        "+",
        "COUNT",
        count,
      ]);
      const page = listOf(reply).map(parseItem);
      for (const entry of page) {
        size += entry.bytes.length;
        if (size > limits.bytes && found.length > 0) return found;
        found.push(entry);
      }
      if (page.length < count) return found;
      at = (page.at(-1)?.number ?? at) + 1;
    }
  }

  async drop(handle: Handle, epoch: number): Promise<boolean> {
    const shard = this.#layout.at(shardOfHandle(handle));
    const keys = [shard.streamState(handle), shard.stream(handle), shard.streams];
    const { outcome } = await this.#trips.write(DROP_STREAM, shard, keys, [epoch, handle]);
    return outcome === "dropped";
  }

  async handles(after: Handle | undefined, limit: number): Promise<readonly Handle[]> {
    // A handle begins with its shard, so that the shards' order is that of the handles.
    const shards = this.#layout.shards.slice(after === undefined ? 0 : shardOfHandle(after));
    const from = after === undefined ? "-" : `(${after}`;
    const pages = await Promise.all(
      shards.map((shard) =>
        this.#trips.ask(shard, ["ZRANGEBYLEX", shard.streams, from, "+", "LIMIT", 0, limit]),
      ),
    );
    const found = pages.flatMap((page) => listOf(page)).flatMap((text) => parseHandle(textOf(text)) ?? []);
    return found.slice(0, limit);
  }

  stats(): Readonly<Record<string, number>> {
    return { ...this.#counts, ...this.#trips.counts };
  }

  async close(): Promise<void> {
    this.#durable.close();
    this.#trips.close();
  }

  async #send(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    this.#trips.assertOpen();
    const shard = this.#layout.at(shardOfHandle(handle));
    const keys = [shard.streamState(handle), shard.stream(handle)];
    const mark = batch.mark === undefined ? "" : base64(batch.mark);
    const args = [epoch, batch.from, batch.trim ?? 0, mark, ...batch.entries.map(base64)];
    const sender = ack === "durable" ? await this.#durable.sender() : undefined;
    const { outcome } = await this.#trips.write(APPEND_ENTRIES, shard, keys, args, sender);
    if (outcome !== "appended" && outcome !== "fenced" && outcome !== "misplaced")
      throw new HoldfastError("store-corrupt", `Redis answered "${outcome}" to an append.`);
    this.#counts.appends++;
    this.#counts.entries += batch.entries.length;
    return outcome;
  }
}

/** `[id, ["e", entry]]` */
function parseItem(item: unknown): LogEntry {
  const [id, fields] = listOf(item);
  const number = Number(textOf(id).split("-")[0]) - 1;
  return { number, bytes: Buffer.from(textOf(listOf(fields)[1]), "base64") };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}

const PAGE = 500;
