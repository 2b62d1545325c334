import type { Following, Looks } from "../../kernel/following.ts";
import { following } from "../../kernel/following.ts";
import type { Change, JournalEntry } from "../../kernel/journal.ts";
import { decodeEntry } from "../../kernel/record-codec.ts";
import { entryCursor, parseCursor, Positions } from "./cursor.ts";
import { storeFault, unavailable } from "./faults.ts";
import type { Layout } from "./layout.ts";
import type { Listener } from "./link.ts";
import type { RoundTrips } from "./round-trips.ts";
import { HEADS } from "./scripts.ts";
import { listOf, numberOf, textOf } from "./stored.ts";

/** Entries read from one shard at once. */
const PAGE = 200;

/**
 * Follows the journals of all shards. What is new is read from the streams, and only when the follower asks for more,
 * so that a slow one costs no memory. Messages on the shards' channels merely say where to look; every `heartbeatMs`
 * all shards are looked at, so that a message that got lost, or a connection that died without a word, is noticed.
 */
export class Feed {
  readonly #trips: RoundTrips;
  readonly #layout: Layout;
  readonly #heartbeatMs: number;
  /** Aborted with the store. */
  readonly #closing: AbortSignal;

  constructor(trips: RoundTrips, layout: Layout, heartbeatMs: number, closing: AbortSignal) {
    this.#trips = trips;
    this.#layout = layout;
    this.#heartbeatMs = heartbeatMs;
    this.#closing = closing;
  }

  /** `now` is the instant of this call, not of the first `next()`. */
  follow(from: string, signal: AbortSignal): Following {
    const heads = this.#heads();
    // Whoever asks for the first change is told.
    heads.catch(() => undefined);
    return following((looks) => this.#run({ from, asked: heads, signal, looks }));
  }

  async *#run({ from, asked, signal, looks }: Follow): AsyncGenerator<Change> {
    const wake = new Wake(signal, this.#closing);
    looks.rouse = wake.rouse;
    let listener: Listener | undefined;
    try {
      const start = await asked;
      listener = await this.#listen(wake);
      const known = from === "now" ? new Positions(start) : parseCursor(from);
      const seen = known ?? new Positions();
      if (known === undefined) yield { type: "gap", cursor: seen.toString() };
      let live = false;
      // The first look at all shards, after the channels are open, finds what was written meanwhile.
      let look = behind(await this.#heads(), seen);
      for (;;) {
        while (look.size > 0 && !signal.aborted) {
          look = yield* this.#read(look, seen);
          if (!live && start.every((head, shard) => seen.at(shard) >= head)) break;
        }
        if (signal.aborted) return;
        looks.done();
        if (!live) {
          live = true;
          yield { type: "live", cursor: seen.toString() };
          continue;
        }
        const news = await wake.next(this.#heartbeatMs);
        if (signal.aborted) return;
        this.#trips.assertOpen();
        if (listener.lost.aborted) throw listener.lost.reason;
        if (looks.wanted) {
          looks.begin();
          look = await this.#news(listener, wake, news, seen);
        } else {
          look =
            news === undefined
              ? behind(await this.#beat(listener), seen)
              : new Map([...news].map((shard) => [shard, undefined]));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      this.#trips.assertOpen();
      throw storeFault(error);
    } finally {
      wake.stop();
      listener?.close();
    }
  }

  /**
   * Reads a page of each shard; a hole in the numbers before it is told as a gap. `look` says for each shard what its
   * newest entry is, where that is known. Answers where there is more.
   */
  async *#read(look: Look, seen: Positions): AsyncGenerator<Change, Look> {
    const pages = await Promise.all(
      [...look].map(async ([shard, head]) => ({
        shard,
        head,
        page: await this.#page(shard, seen.at(shard)),
      })),
    );
    let hole = false;
    for (const { shard, head, page } of pages) {
      const first = page[0]?.number;
      // Fewer than before: the journal was lost with its data, or a replica that lacked its end took over.
      const lost =
        head !== undefined && (seen.at(shard) > head || (first === undefined && seen.at(shard) < head));
      if (lost) seen.move(shard, head);
      else if (first !== undefined && first > seen.at(shard) + 1) seen.move(shard, first - 1);
      else continue;
      hole = true;
    }
    if (hole) yield { type: "gap", cursor: seen.toString() };
    const entries: JournalEntry[] = [];
    const more = new Map<number, undefined>();
    for (const { shard, page } of pages) {
      const last = page.at(-1);
      if (last === undefined) continue;
      for (const { number, text } of page) {
        entries.push(Object.assign(decodeEntry(text), { cursor: entryCursor(shard, number) }));
      }
      seen.move(shard, last.number);
      if (page.length === PAGE) more.set(shard, undefined);
    }
    if (entries.length > 0) yield { type: "entries", entries, cursor: seen.toString() };
    return more;
  }

  async #page(index: number, after: number): Promise<Numbered[]> {
    const shard = this.#layout.at(index);
    const reply = await this.#trips.ask(shard, ["XRANGE", shard.journal, `(${after}-0`, "+", "COUNT", PAGE]);
    return listOf(reply).map(numbered);
  }

  /** The number of every shard's newest entry. */
  async #heads(): Promise<number[]> {
    const { shards } = this.#layout;
    const groups = this.#trips.link.topology === "single" ? [shards] : shards.map((shard) => [shard]);
    const heads = await Promise.all(
      groups.map(async (group) => {
        const [first] = group;
        if (first === undefined) return [];
        const metas = group.map((shard) => shard.meta);
        return listOf(await this.#trips.read(HEADS, first, metas, [])).map(numberOf);
      }),
    );
    return heads.flat();
  }

  /**
   * Where there is something new of all that was written before this call. On one server a script's message goes into
   * the follower's connection before its writer is answered, so that what comes back on that connection comes after it.
   * In a cluster a shard may have moved to a node that this follower does not listen to.
   */
  async #news(
    listener: Listener,
    wake: Wake,
    heard: ReadonlySet<number> | undefined,
    seen: Positions,
  ): Promise<Look> {
    if (this.#trips.link.topology !== "single") return behind(await this.#heads(), seen);
    await this.#check(listener);
    return new Map([...(heard ?? []), ...wake.take()].map((shard) => [shard, undefined]));
  }

  #check(listener: Listener): Promise<unknown> {
    return within(listener.check(), this.#heartbeatMs, "the connection of the change feed is silent");
  }

  async #beat(listener: Listener): Promise<number[]> {
    const [heads] = await Promise.all([this.#heads(), this.#check(listener)]);
    return heads;
  }

  async #listen(wake: Wake): Promise<Listener> {
    const byChannel = new Map(this.#layout.shards.map((shard) => [shard.journal, shard.index]));
    const listening = this.#trips.link.listen([...byChannel.keys()], (channel) => {
      const shard = byChannel.get(channel);
      if (shard !== undefined) wake.hear(shard);
    });
    // One that opens after it was given up is closed again.
    listening.then(
      (late) => wake.stopped && late.close(),
      () => undefined,
    );
    const listener = await within(listening, LISTEN_MS, "the change feed could not be opened in time");
    listener.lost.addEventListener("abort", () => wake.rouse());
    if (listener.lost.aborted) throw storeFault(listener.lost.reason);
    return listener;
  }
}

interface Follow {
  readonly from: string;
  /** What was newest when the follower came. */
  readonly asked: Promise<number[]>;
  readonly signal: AbortSignal;
  readonly looks: Looks;
}

/** Shards to look at, with the number of their newest entry where it is known. */
type Look = ReadonlyMap<number, number | undefined>;

function behind(heads: readonly number[], seen: Positions): Look {
  const look = new Map<number, number>();
  heads.forEach((head, shard) => {
    if (head !== seen.at(shard)) look.set(shard, head);
  });
  return look;
}

/** Opening 64 channels takes longer than a call, and nobody waits for it with a request in hand. */
const LISTEN_MS = 2000;

async function within<T>(asked: Promise<T>, ms: number, otherwise: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => setImmediate(() => reject(unavailable("Redis does not answer", otherwise))), ms);
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}

interface Numbered {
  readonly number: number;
  readonly text: string;
}

/** A stream's entry: [`number-0`, [`e`, text]]. */
function numbered(reply: unknown): Numbered {
  const [id, fields] = listOf(reply);
  return { number: parseInt(textOf(id), 10), text: textOf(listOf(fields)[1]) };
}

/** Which shards were heard of since the last time, and a way to wait for the next. */
class Wake {
  #heard = new Set<number>();
  #roused = false;
  #resolve: (() => void) | undefined;
  readonly #signals: readonly AbortSignal[];
  stopped = false;

  constructor(...signals: readonly AbortSignal[]) {
    this.#signals = signals;
    for (const signal of signals) signal.addEventListener("abort", this.rouse);
  }

  hear(shard: number): void {
    this.#heard.add(shard);
    this.rouse();
  }

  readonly rouse = (): void => {
    this.#roused = true;
    this.#resolve?.();
  };

  /** The shards heard of; `undefined` when none was within `ms`, or something else roused it. */
  async next(ms: number): Promise<ReadonlySet<number> | undefined> {
    if (!this.#roused && !this.#signals.some((signal) => signal.aborted)) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#resolve = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#resolve = undefined;
    }
    this.#roused = false;
    return this.#heard.size === 0 ? undefined : this.take();
  }

  /** The shards heard of by now. */
  take(): ReadonlySet<number> {
    const heard = this.#heard;
    if (heard.size > 0) this.#heard = new Set();
    return heard;
  }

  stop(): void {
    this.stopped = true;
    for (const signal of this.#signals) signal.removeEventListener("abort", this.rouse);
  }
}
