import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Link, LinkListener } from "./client.ts";
import { toEvent } from "./event-stream.ts";
import { BOUND_MESSAGE_BYTES, BOUND_OPEN_DATA_BYTES } from "./numbers.ts";
import { plainLink } from "./plain-link.ts";

export type Heard = Pick<LinkListener, "message" | "drained" | "closed">;

/** What the requests of one path need of their server. */
export interface HttpHost {
  admits(): boolean;
  welcome(binding: "sse" | "event-source", request: IncomingMessage, make: (heard: Heard) => Link): void;
  /** How much may be on the way to an `EventSource`, which acknowledges nothing before it comes again. */
  readonly plainWindow: { readonly messages: number; readonly bytes: number };
  readonly holdMs: number;
  readonly origins: readonly string[];
}

/** The bindings that are plain HTTP: an event stream with posts, and an event stream alone (docs/dialog-protocol.md §10). */
export class HttpLinks {
  readonly #host: HttpHost;
  readonly #links = new Map<string, PostedServerLink>();

  constructor(host: HttpHost) {
    this.#host = host;
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    // A peer that breaks off is told by `close`.
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    if (preflighted(request, response, this.#host.origins)) return;
    const token = request.headers["holdfast-link"];
    switch (request.method) {
      case "GET":
        return this.#plain(request, response);
      case "POST":
        return typeof token === "string" ? this.#up(token, request, response) : this.#open(request, response);
      case "DELETE": {
        const link = typeof token === "string" ? this.#links.get(token) : undefined;
        link?.close();
        return answer(response, link === undefined ? 404 : 204);
      }
      default:
        response.setHeader("allow", "GET, POST, DELETE");
        return answer(response, 405);
    }
  }

  #plain(request: IncomingMessage, response: ServerResponse): void {
    const { plainWindow, holdMs } = this.#host;
    // An image or a frame of another site's page would come with the cookies of whoever looks at it.
    const destination = request.headers["sec-fetch-dest"] ?? "empty";
    if (destination !== "empty") return answer(response, 406);
    if (!this.#host.admits()) return answer(response, 503);
    this.#host.welcome("event-source", request, (heard) =>
      plainLink({ request, response, heard, window: plainWindow, holdMs }),
    );
  }

  #open(request: IncomingMessage, response: ServerResponse): void {
    if (!isFrames(request)) return answer(response, 415);
    if (!this.#host.admits()) return answer(response, 503);
    collect(request, response, OPENING_BYTES, (body) => {
      if (!this.#host.admits()) return answer(response, 503);
      this.#host.welcome("sse", request, (heard) => {
        const link = new PostedServerLink(response, heard, () => this.#links.delete(link.token));
        this.#links.set(link.token, link);
        // Not before whoever is asking has the link.
        queueMicrotask(() => heard.message(body));
        return link;
      });
    });
  }

  #up(token: string, request: IncomingMessage, response: ServerResponse): void {
    const link = this.#links.get(token);
    if (link === undefined) return answer(response, 404);
    if (!isFrames(request)) return answer(response, 415);
    const turn = request.headers["holdfast-turn"];
    if (typeof turn !== "string" || !/^\d{1,15}$/.test(turn)) return answer(response, 400);
    if (link.posts >= POSTS_AT_ONCE) return answer(response, 429);
    link.posts++;
    response.on("close", () => link.posts--);
    collect(request, response, BOUND_MESSAGE_BYTES + OVERHEAD_BYTES, (body) =>
      answer(response, link.take(Number(turn), body)),
    );
  }
}

/**
 * Lets pages of `origins` read the answer (CORS, Fetch Standard §3.2), and answers when a browser asks whether they may:
 * then it is true, and there is nothing more to do.
 */
export function preflighted(
  request: IncomingMessage,
  response: ServerResponse,
  origins: readonly string[],
): boolean {
  const { origin } = request.headers;
  if (origin === undefined || !origins.includes(origin)) return false;
  response.setHeader("vary", "origin");
  response.setHeader("access-control-allow-origin", origin);
  response.setHeader("access-control-allow-credentials", "true");
  if (request.method !== "OPTIONS") return false;
  response.setHeader("access-control-allow-methods", "GET, POST, DELETE");
  const headers = "authorization, content-type, holdfast-link, holdfast-turn, last-event-id";
  response.setHeader("access-control-allow-headers", headers);
  response.setHeader("access-control-max-age", "600");
  answer(response, 204);
  return true;
}

/** Down is the response to the post that opened it, up is every post that names it. */
class PostedServerLink implements Link {
  /** Known to its client alone, and good for this link alone. */
  readonly token: string = randomBytes(32).toString("base64url");
  posts = 0;
  readonly #response: ServerResponse;
  readonly #heard: Heard;
  #turn = 0;
  #open = true;

  constructor(response: ServerResponse, heard: Heard, gone: () => void) {
    this.#response = response;
    this.#heard = heard;
    response.writeHead(200, STREAM_HEADERS);
    response.write(toEvent(this.token, { event: "link" }));
    response.on("drain", () => heard.drained());
    response.on("close", () => {
      this.#open = false;
      gone();
      heard.closed();
    });
  }

  get bufferedAmount(): number {
    return this.#response.writableLength;
  }

  send(message: Uint8Array): void {
    if (this.#open) this.#response.write(`data: ${Buffer.from(message).toString("base64url")}\n\n`);
  }

  /** The status that answers turn `turn`. */
  take(turn: number, body: Uint8Array): number {
    if (!this.#open) return 404;
    if (turn > this.#turn) return 409;
    if (turn < this.#turn) return 204;
    this.#turn++;
    this.#heard.message(body);
    return 204;
  }

  close(): void {
    this.#response.end();
    // A peer that is gone takes nothing any more, not even the end.
    setTimeout(() => this.#response.destroy(), CLOSE_MS).unref();
  }
}

export const STREAM_HEADERS = {
  "content-type": "text/event-stream",
  "cache-control": "no-store, no-transform",
  // Otherwise nginx would collect events before it passes them on.
  "x-accel-buffering": "no",
} as const;

export function answer(response: ServerResponse, status: number): void {
  if (response.headersSent) return;
  response.writeHead(status, { "cache-control": "no-store", "content-length": 0 });
  response.end();
}

/** Also what keeps other sites' forms out: a browser sends this type for them only after asking (CORS). */
function isFrames(request: IncomingMessage): boolean {
  return request.headers["content-type"] === "application/octet-stream";
}

function collect(
  request: IncomingMessage,
  response: ServerResponse,
  maxBytes: number,
  whole: (body: Uint8Array) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  request.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxBytes) return void chunks.push(chunk);
    chunks.length = 0;
    response.setHeader("connection", "close");
    answer(response, 413);
    request.pause();
  });
  request.on("end", () => {
    if (size <= maxBytes) whole(Buffer.concat(chunks));
  });
}

const OVERHEAD_BYTES = 65_536;
/** OPEN with all its fields at their bounds is shorter. */
const OPENING_BYTES = BOUND_OPEN_DATA_BYTES + OVERHEAD_BYTES;
const POSTS_AT_ONCE = 4;
const CLOSE_MS = 2_000;
