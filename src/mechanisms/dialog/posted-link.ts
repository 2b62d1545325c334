import { isFault } from "../../wire/fault.ts";
import type { Link, LinkListener } from "./client.ts";
import { EventSplitter, fromBase64url } from "./event-stream.ts";
import { BOUND_MESSAGE_BYTES } from "./numbers.ts";

/** One HTTP request, however the place it runs in makes it. */
export type Fetcher = (
  url: string,
  request: {
    readonly method: "POST" | "DELETE";
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: Uint8Array;
    readonly signal: AbortSignal;
  },
) => Promise<{ readonly status: number; readonly body: AsyncIterable<Uint8Array> }>;

/** A link for where there is no WebSocket: an event stream down, idempotent posts up (docs/dialog-protocol.md §10). */
export function postedLink(
  url: string,
  listener: LinkListener,
  fetcher: Fetcher,
  headers: Readonly<Record<string, string>> = {},
): Link {
  return new PostedLink(url, listener, fetcher, headers);
}

class PostedLink implements Link {
  bufferedAmount = 0;
  readonly #url: string;
  readonly #listener: LinkListener;
  readonly #fetcher: Fetcher;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #stream = new AbortController();
  #token: string | undefined;
  #begun = false;
  #turn = 0;
  #queue: Uint8Array[] = [];
  #posting = false;
  #closing = false;
  #gone = false;

  constructor(
    url: string,
    listener: LinkListener,
    fetcher: Fetcher,
    headers: Readonly<Record<string, string>>,
  ) {
    this.#url = url.replace(/^ws/, "http");
    this.#listener = listener;
    this.#fetcher = fetcher;
    this.#headers = headers;
    // There is nothing to be made before the first message, which takes the stream with it.
    setTimeout(() => {
      if (!this.#closing) listener.open();
    }, 0);
  }

  send(message: Uint8Array): void {
    if (this.#closing) return;
    if (!this.#begun) {
      this.#begun = true;
      void this.#listen(message);
      return;
    }
    this.#queue.push(message);
    this.bufferedAmount += message.length;
    void this.#post();
  }

  /** What was sent before goes out first. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    setTimeout(() => this.#end(), CLOSE_MS);
    if (!this.#posting) void this.#leave();
  }

  async #listen(first: Uint8Array): Promise<void> {
    try {
      const { status, body } = await this.#fetcher(this.#url, this.#request("POST", first));
      if (status !== 200) return this.#end();
      const splitter = new EventSplitter(MAX_CHARS);
      for await (const chunk of body) {
        const events = splitter.push(chunk);
        if (isFault(events)) break;
        for (const { event, data } of events) {
          if (event === "link") {
            this.#token = data;
            void this.#post();
            continue;
          }
          const bytes = fromBase64url(data);
          if (bytes === undefined) return this.#end();
          if (!this.#closing) this.#listener.message(bytes);
        }
      }
    } catch {
      // Whatever it was, the link is gone; what comes of that is the dialog's.
    }
    this.#end();
  }

  /** All that waits, as one message: frames follow each other without separators. */
  async #post(): Promise<void> {
    if (this.#posting || this.#token === undefined || this.#gone) return;
    this.#posting = true;
    while (this.#queue.length > 0 && !this.#gone) {
      const body = this.#take();
      if (!(await this.#posted(body))) return this.#end();
      this.bufferedAmount -= body.length;
      if (!this.#closing) this.#listener.drained();
    }
    this.#posting = false;
    if (this.#closing) await this.#leave();
  }

  #take(): Uint8Array {
    let count = 0;
    let size = 0;
    for (const { length } of this.#queue) {
      if (count > 0 && size + length > POST_BYTES) break;
      size += length;
      count++;
    }
    const taken = this.#queue.splice(0, count);
    const [only] = taken;
    if (taken.length === 1 && only !== undefined) return only;
    const body = new Uint8Array(size);
    let at = 0;
    for (const message of taken) {
      body.set(message, at);
      at += message.length;
    }
    return body;
  }

  /** The turn makes it safe to say it twice, when it is not known whether it was heard. */
  async #posted(body: Uint8Array): Promise<boolean> {
    const turn = this.#turn++;
    for (let attempt = 0; attempt < ATTEMPTS && !this.#gone; attempt++) {
      try {
        const { status } = await this.#fetcher(this.#url, this.#request("POST", body, turn));
        return status === 204;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20 << attempt));
      }
    }
    return false;
  }

  async #leave(): Promise<void> {
    if (this.#gone || this.#token === undefined) return this.#end();
    await this.#fetcher(this.#url, this.#request("DELETE")).catch(() => undefined);
    this.#end();
  }

  #request(method: "POST" | "DELETE", body?: Uint8Array, turn?: number): Parameters<Fetcher>[1] {
    return {
      method,
      headers: {
        ...this.#headers,
        ...(body !== undefined && { "content-type": "application/octet-stream" }),
        ...(this.#token !== undefined && { "holdfast-link": this.#token }),
        ...(turn !== undefined && { "holdfast-turn": String(turn) }),
      },
      signal: this.#stream.signal,
      ...(body !== undefined && { body }),
    };
  }

  #end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#queue = [];
    this.#stream.abort();
    this.#listener.closed();
  }
}

const ATTEMPTS = 4;
const CLOSE_MS = 2_000;
const POST_BYTES = 1_048_576;
/** An event holds one message of the binding in base64. */
const MAX_CHARS = ((BOUND_MESSAGE_BYTES + 65_536) * 4) / 3 + 64;
