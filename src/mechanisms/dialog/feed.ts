import { createHash, randomInt } from "node:crypto";
import type { Handle, LogAck, SessionLog } from "../../kernel/index.ts";
import { HoldfastError, parseHandle } from "../../kernel/index.ts";
import { isFault } from "../../wire/fault.ts";
import { ByteReader, ByteWriter } from "../../wire/varint.ts";
import { encodeContent, FrameReader } from "./codec.ts";

export interface FeedOptions {
  /** Where the entries are; those in a log that nodes share can be read on every one of them. */
  readonly log: SessionLog;
  readonly name: string;
  /** So many of the newest are kept, and a few more; 10,000 unless given. */
  readonly keep?: number;
  readonly durability?: LogAck;
  /** How often a log is looked at for what other processes have added; 250 ms unless given. */
  readonly lookMs?: number;
}

/** What a reader of a feed gets: an entry, the numbers of those that are gone, or that the numbers begin anew. */
export type FeedItem =
  | {
      readonly type: "entry";
      readonly number: number;
      readonly kind: "text" | "data";
      readonly bytes: Uint8Array;
    }
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  | { readonly type: "reset" };

/** What a publication can be known by when it comes a second time: a dialog's handle, and the message's number. */
export interface FeedSource {
  readonly id: string;
  readonly number: number;
}

interface Waiting {
  readonly frame: Uint8Array;
  readonly source: FeedSource | undefined;
  readonly resolve: (number: number | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Numbered entries, of which the newest are kept, for any number of readers; each knows itself how far it is. */
export class Feed {
  readonly name: string;
  readonly handle: Handle;
  keep: number;
  readonly #log: SessionLog;
  readonly #ack: LogAck;
  readonly #lookMs: number;
  /** Absent before the first publication, and when it is not known what became of the last. */
  #stream: { epoch: number; next: number; first: number } | undefined;
  #accepted = new Map<string, number>();
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  readonly #writer = randomInt(WRITERS);
  #second = 0;
  readonly #wakes = new Set<() => void>();
  /** Counts what this process has added. */
  #version = 0;
  /** No entry is known from here on. */
  #seen = 0;
  pendingBytes = 0;

  constructor({ log, name, keep = 10_000, durability, lookMs = 250 }: FeedOptions) {
    this.name = name;
    this.handle = feedHandle(name);
    this.#log = log;
    this.keep = keep;
    this.#ack = durability ?? (log.kind === "memory" ? "memory" : "stored");
    this.#lookMs = lookMs;
  }

  /**
   * Adds an entry; resolves with its number when it is safe, or with `undefined` when its source has had it added before.
   * @throws HoldfastError `store-unavailable`: it may have been added. With a source it can be published again.
   */
  publish(content: string | Uint8Array, source?: FeedSource): Promise<number | undefined> {
    const frame =
      typeof content === "string"
        ? encodeContent("text", Buffer.from(content))
        : encodeContent("data", content);
    this.pendingBytes += frame.length;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ frame, source, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  /** The number at which reading from there begins. */
  async place(from: number | "oldest" | "newest"): Promise<number> {
    if (from === "newest") return this.#end();
    if (from !== "oldest") return from;
    const [first] = await this.#log.read(this.handle, 0, { entries: 1, bytes: 1 });
    return first?.number ?? 0;
  }

  /** Entries from number `from` on, and then those that come, until `signal`. `newest`: only those that come. */
  async *follow(
    from: number | "oldest" | "newest",
    signal: AbortSignal,
  ): AsyncGenerator<FeedItem, void, void> {
    let next = await this.place(from);
    if (next > (await this.#end())) {
      yield { type: "reset" };
      next = await this.place("oldest");
    }
    while (!signal.aborted) {
      const version = this.#version;
      const entries = await this.#log.read(this.handle, next, PAGE);
      const first = entries[0]?.number ?? next;
      if (first > next) yield { type: "gap", from: next, to: first - 1 };
      for (const { number, bytes } of entries) {
        const frame = new FrameReader(bytes).next();
        if (isFault(frame) || (frame?.type !== "text" && frame?.type !== "data"))
          throw new HoldfastError(
            "store-corrupt",
            `Entry ${number} of the feed ${this.name} cannot be read.`,
          );
        yield { type: "entry", number, kind: frame.type, bytes: frame.bytes };
        next = number + 1;
        if (signal.aborted) return;
      }
      if (entries.length === 0 && version === this.#version) await this.#changed(signal);
    }
  }

  /** Waits for what is being written. */
  async settled(): Promise<void> {
    await this.#writing;
  }

  // ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #write(): Promise<void> {
    // All that is published in one turn is one append.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH);
      try {
        await this.#add(batch);
      } catch (error) {
        this.#stream = undefined;
        for (const one of batch) one.reject(error);
      }
      for (const { frame } of batch) this.pendingBytes -= frame.length;
      this.#version++;
      for (const wake of this.#wakes) wake();
    }
    this.#writing = undefined;
  }

  async #add(batch: readonly Waiting[]): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stream = (this.#stream ??= await this.#open());
      const accepted = new Map(this.#accepted);
      const fresh = batch.filter(({ source }) => isFresh(accepted, source));
      let number = stream.next;
      const numbers = new Map(fresh.map((one) => [one, number++]));
      const first = number - stream.first > this.keep * SLACK ? number - this.keep : stream.first;
      const hasSources = fresh.some(({ source }) => source !== undefined);
      const added = {
        from: stream.next,
        entries: fresh.map(({ frame }) => frame),
        trim: first,
        ...(hasSources && { mark: encodeAccepted(accepted) }),
      };
      const outcome =
        fresh.length === 0 ? "appended" : await this.#log.append(this.handle, stream.epoch, added, this.#ack);
      if (outcome === "appended") {
        this.#stream = { ...stream, first, next: number };
        this.#accepted = accepted;
        for (const one of batch) one.resolve(numbers.get(one));
        return;
      }
      // Another process has added something since: behind that.
      this.#stream = undefined;
    }
    throw new HoldfastError(
      "store-unavailable",
      `The feed ${this.name} is being written by too many at once.`,
    );
  }

  /** Takes the stream over. An epoch is a time and this writer's own number, so that no two writers ever have the same. */
  async #open(): Promise<{ epoch: number; next: number; first: number }> {
    const now = Math.max(Math.floor(Date.now() / 1000), this.#second);
    // Whoever wrote last had an earlier time, unless its clock was ahead.
    for (let ahead = 0; ahead < AHEAD_S; ahead = ahead * 2 || 1) {
      const epoch = (now + ahead) * WRITERS + this.#writer;
      const state = await this.#log.open(this.handle, epoch);
      if (state === "fenced") continue;
      this.#second = now + ahead;
      this.#accepted = state.mark === undefined ? new Map() : decodeAccepted(state.mark);
      return { epoch, next: state.next, first: state.first };
    }
    throw new HoldfastError("session-fenced", `The feed ${this.name} was written by a clock a year ahead.`);
  }

  // ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** The number the next entry gets, as far as can be seen without taking the stream over. */
  async #end(): Promise<number> {
    for (;;) {
      const entries = await this.#log.read(this.handle, this.#seen, PAGE);
      const last = entries.at(-1);
      if (last === undefined) return this.#seen;
      this.#seen = Math.max(this.#seen, last.number + 1);
    }
  }

  /** Resolves when this process has added something, and when it is time to look what others have. */
  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakes.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, this.#log.reach === "process" ? IDLE_MS : this.#lookMs);
      this.#wakes.add(done);
      signal.addEventListener("abort", done);
    });
  }
}

/** Where a feed of that name is in a log, the same on every node; it can be told from a session's. */
export function feedHandle(name: string): Handle {
  const digest = createHash("sha256").update(name).digest();
  const text = [...digest].map((byte) => BASE32.charAt(byte & 31)).join("");
  const handle = parseHandle(`${(digest[31] ?? 0) & 1}${text.charAt(0)}${FEED}${text.slice(1, 14)}`);
  if (handle === undefined) throw new Error("a feed's handle is a handle");
  return handle;
}

/** Whether it is not the stream of a session that may be gone. */
export function isFeedHandle(handle: Handle): boolean {
  return handle.startsWith(FEED, 2);
}

function isFresh(accepted: Map<string, number>, source: FeedSource | undefined): boolean {
  if (source === undefined) return true;
  if (source.number <= (accepted.get(source.id) ?? -1)) return false;
  // The newest last, so that the oldest is the first to be forgotten.
  accepted.delete(source.id);
  accepted.set(source.id, source.number);
  if (accepted.size > SOURCES) {
    const [oldest] = accepted.keys();
    if (oldest !== undefined) accepted.delete(oldest);
  }
  return true;
}

function encodeAccepted(accepted: ReadonlyMap<string, number>): Uint8Array {
  const writer = new ByteWriter();
  for (const [id, number] of accepted) writer.text(id).varint(number);
  return writer.take();
}

function decodeAccepted(mark: Uint8Array): Map<string, number> {
  const reader = new ByteReader(mark);
  const accepted = new Map<string, number>();
  while (!reader.done && reader.fault === undefined) {
    const id = reader.text(1024);
    const number = reader.varint();
    if (reader.fault === undefined) accepted.set(id, number);
  }
  return accepted;
}

const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";
const FEED = "feed0";
const SOURCES = 1000;
const SLACK = 1.125;
const BATCH = 1000;
const ATTEMPTS = 20;
const PAGE = { entries: 500, bytes: 262_144 };
const WRITERS = 2 ** 22;
const AHEAD_S = 31_536_000;
const IDLE_MS = 60_000;
