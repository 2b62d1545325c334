import type { IncomingMessage, ServerResponse } from "node:http";
import { isFault } from "../../wire/fault.ts";
import type { Link } from "./client.ts";
import { decodeFrames, encodeFrame } from "./codec.ts";
import { toEvent } from "./event-stream.ts";
import type { Frame } from "./frames.ts";
import { BOUND_CREDIT_BYTES, BOUND_LABEL_BYTES, BOUND_MESSAGE_BYTES, REFUSED } from "./numbers.ts";
import * as UNIT from "./units.ts";
import type { Heard } from "./http-links.ts";
import { answer, STREAM_HEADERS } from "./http-links.ts";

interface PlainOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly heard: Heard;
  readonly window: { readonly messages: number; readonly bytes: number };
  readonly holdMs: number;
}

/**
 * A link to an `EventSource`, or anything that can read lines: it stands in for the initiator of a simplex dialog, which
 * says nothing but where it is, by `Last-Event-ID`, when it comes again.
 */
export function plainLink(options: PlainOptions): Link {
  return new PlainLink(options);
}

class PlainLink implements Link {
  readonly #response: ServerResponse;
  readonly #heard: Heard;
  readonly #window: PlainOptions["window"];
  readonly #came: EventId | undefined;
  /** Handle and secret, for the ids of the events. */
  #ticket = "";
  #handle = "";
  /** The number that the next message has. */
  #next = 0;
  #messages = 0;
  #bytes = 0;
  #open = true;
  /** Nothing follows what is being told. */
  #last = false;

  constructor({ request, response, heard, window, holdMs }: PlainOptions) {
    this.#response = response;
    this.#heard = heard;
    this.#window = window;
    const said = request.headers["last-event-id"];
    this.#came = typeof said === "string" ? parseEventId(said) : undefined;
    request.resume();
    response.on("drain", () => heard.drained());
    response.on("close", () => {
      this.#open = false;
      heard.closed();
    });
    const first =
      typeof said === "string" && said !== "" ? this.#resumeFrame() : openFrame(request, window, holdMs);
    queueMicrotask(() => {
      if (!this.#open) return;
      if (first === undefined) this.#refused(REFUSED.unknown, 0);
      else heard.message(encodeFrame(first));
    });
  }

  get bufferedAmount(): number {
    return this.#response.writableLength;
  }

  send(message: Uint8Array): void {
    const frames = this.#open ? decodeFrames(message) : [];
    if (isFault(frames)) throw new Error(`an own message cannot be read: ${frames.why}`);
    let text = "";
    for (const frame of frames) text += this.#told(frame);
    if (text !== "" && this.#open) this.#response.write(text);
    // When the window is used up, what came has to be acknowledged, which is done by coming again.
    if (this.#last || this.#messages >= this.#window.messages || this.#bytes >= this.#window.bytes)
      this.close();
  }

  close(): void {
    this.#open = false;
    // Before the first event there was nothing but a dialog that is over: 204 tells an EventSource not to come again.
    if (this.#response.headersSent) this.#response.end();
    else answer(this.#response, 204);
    setTimeout(() => this.#response.destroy(), CLOSE_MS).unref();
  }

  #resumeFrame(): Frame | undefined {
    const came = this.#came;
    if (came === undefined) return undefined;
    const { handle, secret } = came;
    this.#handle = handle;
    this.#next = came.next;
    const position = { next: came.next, committed: came.next, sent: 0 };
    return { type: "resume", handle, secret, authorization: "", position, credit: creditOf(this.#window) };
  }

  /** The text that tells of `frame`, or what else it leads to. */
  #told(frame: Frame): string {
    switch (frame.type) {
      case "opened":
        this.#handle = frame.handle;
        return this.#begun(frame.secret);
      case "resumed":
        if (this.#came?.finished !== true) return this.#begun(frame.secret);
        this.#reply({ type: "finish-ack" });
        return "";
      case "refused":
        this.#refused(frame.code, frame.retryMs);
        return "";
      case "text":
        return this.#content(frame.bytes, toEvent(decoder.decode(frame.bytes), this.#takeId(1)));
      case "data": {
        const data = Buffer.from(frame.bytes).toString("base64");
        return this.#content(frame.bytes, toEvent(data, { event: "data", ...this.#takeId(1) }));
      }
      case "gap": {
        const { from, to } = frame;
        return toEvent(JSON.stringify({ from, to }), { event: "gap", ...this.#takeId(to - from + 1) });
      }
      case "finish":
        this.#last = true;
        return toEvent("", { event: "finish", ...this.#takeId(1, ".end") });
      case "ping":
        // Whether anybody still reads this, TCP finds out.
        this.#reply({ type: "pong", id: frame.id });
        return ": ping\n\n";
      case "abort":
        return toEvent(JSON.stringify({ code: frame.code, why: frame.why }), { event: "abort" });
      case "migrate":
        // It comes again by itself, and a balancer knows where to.
        this.#last = true;
        return "";
      default:
        return "";
    }
  }

  /** An id without data raises no event, and is what the next request brings along. */
  #begun(secret: string): string {
    this.#ticket = `${this.#handle}.${secret}`;
    this.#response.writeHead(200, STREAM_HEADERS);
    const last = this.#next === 0 ? "-" : String(this.#next - 1);
    return `retry: ${RETRY_MS}\nid: ${last}.${this.#ticket}\n\n`;
  }

  #takeId(count: number, end = ""): { id: string } {
    this.#next += count;
    return { id: `${this.#next - 1}.${this.#ticket}${end}` };
  }

  #content(bytes: Uint8Array, text: string): string {
    this.#messages++;
    this.#bytes += bytes.length;
    return text;
  }

  #reply(frame: Frame): void {
    queueMicrotask(() => {
      if (this.#open) this.#heard.message(encodeFrame(frame));
    });
  }

  #refused(code: number, retryMs: number): void {
    const response = this.#response;
    this.#open = false;
    if (response.headersSent) return;
    if (code === REFUSED.busy || code === REFUSED.unavailable) {
      // An EventSource gives up at an error status; this one is to come again.
      response.writeHead(200, STREAM_HEADERS);
      response.end(`retry: ${Math.max(retryMs, RETRY_MS)}\n\n`);
    } else if (this.#came?.finished === true && code === REFUSED.ended) answer(response, 204);
    else answer(response, STATUS[code] ?? 400);
  }
}

interface EventId {
  readonly next: number;
  readonly handle: string;
  readonly secret: string;
  readonly finished: boolean;
}

/** `number.handle.secret`, `-` for before the first, with `.end` behind it when it was the last. */
function parseEventId(text: string): EventId | undefined {
  const [, last, handle, secret, end] =
    /^(\d{1,16}|-)\.(\w{1,128})\.([\w-]{1,128})(\.end)?$/.exec(text) ?? [];
  if (last === undefined || handle === undefined || secret === undefined) return undefined;
  const next = last === "-" ? 0 : Number(last) + 1;
  return next >= Number.MAX_SAFE_INTEGER ? undefined : { next, handle, secret, finished: end !== undefined };
}

function openFrame(request: IncomingMessage, window: PlainOptions["window"], holdMs: number): Frame {
  const label = new URL(request.url ?? "/", "http://localhost").searchParams.get("label") ?? "";
  return {
    type: "open",
    version: 1,
    units: UNIT.simplexDown,
    placement: 0,
    checkpointBytes: 0,
    checkpointWindow: 0,
    maxMessageBytes: BOUND_MESSAGE_BYTES,
    credit: creditOf(window),
    holdMs,
    proofKey: new Uint8Array(0),
    authorization: "",
    label: label.slice(0, BOUND_LABEL_BYTES / 4),
    data: new Uint8Array(0),
  };
}

/** More than the window, so that it is this link that notices when it is used up. */
function creditOf({ messages, bytes }: PlainOptions["window"]): { messages: number; bytes: number } {
  return { messages: messages + 1, bytes: Math.min(bytes + BOUND_MESSAGE_BYTES, BOUND_CREDIT_BYTES) };
}

const STATUS: Readonly<Record<number, number>> = {
  [REFUSED.unauthorized]: 401,
  [REFUSED.unknown]: 410,
  [REFUSED.locked]: 403,
  [REFUSED.ended]: 410,
  [REFUSED.mode]: 406,
  [REFUSED.outOfStep]: 410,
  [REFUSED.proof]: 403,
};
const RETRY_MS = 100;
const CLOSE_MS = 30_000;
const decoder = new TextDecoder();
