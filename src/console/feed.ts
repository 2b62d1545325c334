import type { IncomingMessage, ServerResponse } from "node:http";
import type { Revocations } from "../governance/index.ts";
import type { JournalEntry, Kernel } from "../kernel/index.ts";
import type { FeedEvent, SessionRow } from "./contract.ts";
import type { LiveView } from "./live-view.ts";
import { receiptRow, sessionRow, timelineEntry } from "./rows.ts";

/** `GET /api/feed`: every open page hears what changes, and after a break goes on where it stopped. */
export class FeedServer {
  readonly #kernel: Kernel;
  readonly #view: LiveView;
  readonly #open = new Set<Stream>();
  readonly #stops: readonly (() => void)[];

  constructor(kernel: Kernel, view: LiveView, revocations: Revocations) {
    this.#kernel = kernel;
    this.#view = view;
    this.#stops = [
      view.listen({
        patch: ({ changed, ended, entries, cursor }) => {
          this.#tell({ event: "entries", data: entries.map(timelineEntry) }, cursor);
          if (changed.length + ended.length > 0)
            this.#tell({ event: "rows", data: { changed, ended } }, cursor);
        },
        reloaded: () => this.#tell({ event: "gap", data: { cursor: "" } }),
        feed: (live) => this.#tell({ event: "feed", data: { live } }),
      }),
      revocations.onReceipt(({ id, settled }, receipt) => {
        this.#tell({ event: "receipt", data: { revocation: id, receipt: receiptRow(receipt), settled } });
      }),
    ];
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    await this.#view.ready();
    const stream = new Stream(this.#kernel, response);
    this.#open.add(stream);
    response.on("close", () => {
      this.#open.delete(stream);
      stream.end();
    });
    const last = request.headers["last-event-id"];
    // What happens during the replay waits behind it; what is then told twice is at-least-once.
    if (typeof last === "string" && last !== "") await stream.hold(this.#replay(stream, last));
    stream.send({ event: "feed", data: { live: this.#kernel.feedLive } });
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const stream of this.#open) stream.end();
  }

  #tell(event: FeedEvent, cursor?: string): void {
    for (const stream of this.#open) stream.queue(event, cursor);
  }

  async #replay(stream: Stream, from: string): Promise<void> {
    const stop = new AbortController();
    const missed: JournalEntry[] = [];
    try {
      for await (const change of this.#kernel.store.changes(from, { signal: stop.signal })) {
        if (change.type === "gap" || missed.length > MOST_REPLAYED) {
          stream.send({ event: "gap", data: { cursor: change.cursor } }, change.cursor);
          return;
        }
        if (change.type === "live") break;
        missed.push(...change.entries);
      }
    } catch (error) {
      // A cursor of another store, or a store that is away: the page has to load again either way.
      this.#kernel.fault(error);
      stream.send({ event: "gap", data: { cursor: from } });
      return;
    } finally {
      stop.abort();
    }
    const cursor = missed.at(-1)?.cursor;
    if (cursor === undefined) return;
    stream.send({ event: "entries", data: missed.map(timelineEntry) }, cursor);
    stream.send({ event: "rows", data: await this.#rowsOf(missed) }, cursor);
  }

  async #rowsOf(entries: readonly JournalEntry[]): Promise<{ changed: SessionRow[]; ended: SessionRow[] }> {
    const rows = { changed: [] as SessionRow[], ended: [] as SessionRow[] };
    for (const handle of new Set(entries.map((entry) => entry.handle))) {
      const found = handle === undefined ? undefined : await this.#kernel.store.get(handle);
      if (found !== undefined)
        rows[found.record.state === "ended" ? "ended" : "changed"].push(sessionRow(found.record));
    }
    return rows;
  }
}

/** One page's stream. A page that does not read is cut off and comes back with its Last-Event-ID. */
class Stream {
  readonly #response: ServerResponse;
  #held: (() => void)[] | undefined;
  #cancelBeat: () => void = () => {};

  constructor(kernel: Kernel, response: ServerResponse) {
    this.#response = response;
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    response.write("retry: 1000\n\n");
    const beat = (): void => {
      response.write(": still here\n\n");
      this.#cancelBeat = kernel.clock.after(BEAT_MS, beat);
    };
    this.#cancelBeat = kernel.clock.after(BEAT_MS, beat);
  }

  send({ event, data }: FeedEvent, cursor?: string): void {
    if (this.#response.writableLength > MOST_BUFFERED) {
      this.#response.destroy();
      return;
    }
    const id = cursor === undefined || cursor === "" ? "" : `id: ${cursor}\n`;
    this.#response.write(`${id}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  queue(event: FeedEvent, cursor: string | undefined): void {
    if (this.#held === undefined) this.send(event, cursor);
    else if (this.#held.length < MOST_HELD) this.#held.push(() => this.send(event, cursor));
    else this.#response.destroy();
  }

  async hold(work: Promise<void>): Promise<void> {
    this.#held = [];
    await work;
    const held = this.#held;
    this.#held = undefined;
    for (const send of held) send();
  }

  end(): void {
    this.#cancelBeat();
    this.#response.end();
  }
}

const BEAT_MS = 15_000;
const MOST_BUFFERED = 4 * 1024 * 1024;
const MOST_HELD = 1_000;
const MOST_REPLAYED = 20_000;
