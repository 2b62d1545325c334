import type { Fault } from "../../wire/fault.ts";
import { fault } from "../../wire/fault.ts";

/** One event of a `text/event-stream` (HTML Living Standard §9.2). */
export interface StreamEvent {
  /** `message` when it is not named. */
  readonly event: string;
  readonly data: string;
}

/** An event as it goes on the wire. Line ends of `data` become LF, as the format has it. */
export function toEvent(data: string, { event, id }: { event?: string; id?: string } = {}): string {
  const head = `${event === undefined ? "" : `event: ${event}\n`}${id === undefined ? "" : `id: ${id}\n`}`;
  return `${head}data: ${data.replaceAll(/\r\n|\r|\n/g, "\ndata: ")}\n\n`;
}

/** Cuts a stream, however it arrives, into its events. Comments and unknown fields are skipped. */
export class EventSplitter {
  readonly #maxChars: number;
  readonly #decoder = new TextDecoder();
  #rest = "";
  /** Where in `#rest` there is no line end for sure. */
  #searched = 0;
  #event = "";
  #data: string[] = [];
  #size = 0;

  constructor(maxChars: number) {
    this.#maxChars = maxChars;
  }

  push(chunk: Uint8Array): StreamEvent[] | Fault {
    this.#rest += this.#decoder.decode(chunk, { stream: true });
    const events: StreamEvent[] = [];
    let at = 0;
    for (;;) {
      const end = this.#rest.indexOf("\n", Math.max(at, this.#searched));
      if (end < 0) break;
      this.#line(this.#rest.slice(at, end).replace(/\r$/, ""), events);
      at = end + 1;
    }
    this.#rest = this.#rest.slice(at);
    this.#searched = this.#rest.length;
    return this.#rest.length + this.#size > this.#maxChars
      ? fault("too-large", 0, `an event of more than ${this.#maxChars} characters`)
      : events;
  }

  #line(line: string, events: StreamEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0)
        events.push({ event: this.#event || "message", data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      this.#size = 0;
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "event") this.#event = value;
    else if (name === "data") {
      this.#data.push(value);
      this.#size += value.length + 1;
    }
  }
}

export function toBase64url(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 32_768)
    binary += String.fromCharCode(...bytes.subarray(at, at + 32_768));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** `undefined` when it is none. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    return Uint8Array.from(binary, (character) => character.charCodeAt(0));
  } catch {
    // A length that no bytes have.
    return undefined;
  }
}
