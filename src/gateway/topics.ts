import type { SessionLog } from "../kernel/index.ts";
import { Feed } from "../mechanisms/dialog/index.ts";

/** The feeds of this gateway by name, and the log they are in. One listener may write what another reads. */
export class Topics {
  readonly #open: () => SessionLog;
  readonly #feeds = new Map<string, Feed>();
  /** Those of which somebody has said how much is kept. */
  readonly #asked = new Set<string>();
  #streams: SessionLog | undefined;

  constructor(open: () => SessionLog) {
    this.#open = open;
  }

  /** Where streams live; made when it is asked for. */
  get streams(): SessionLog {
    this.#streams ??= this.#open();
    return this.#streams;
  }

  /** `keep`: so many of its newest entries; the most that any listener asks for. */
  feed(name: string, keep?: number): Feed {
    let feed = this.#feeds.get(name);
    if (feed === undefined) this.#feeds.set(name, (feed = new Feed({ log: this.streams, name })));
    if (keep === undefined) return feed;
    feed.keep = this.#asked.has(name) ? Math.max(feed.keep, keep) : keep;
    this.#asked.add(name);
    return feed;
  }

  async close(): Promise<void> {
    for (const feed of this.#feeds.values()) await feed.settled();
    await this.#streams?.close();
  }
}
