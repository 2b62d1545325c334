import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { NodeBody } from "./body.ts";
import { DOWNLOAD_CHUNK_BYTES, downloadChunks } from "./download.ts";
import type { DownloadSource } from "./download.ts";
import type { Exchange } from "./exchange.ts";
import type { DownloadPlan } from "./protocol/download-plan.ts";
import type { Reply, RequestHead } from "./protocol/messages.ts";

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

export function nodeHead(request: NodeRequest): RequestHead {
  return {
    method: request.method ?? "GET",
    header: (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(", ") : value;
    },
  };
}

export function nodeExchange(request: NodeRequest, response: NodeResponse): Exchange {
  const address = request.socket?.remoteAddress;
  const agent = request.headers["user-agent"];
  // A body parser in front of us may have turned the request on its way; what it left is what there is.
  const body = new NodeBody(request as IncomingMessage);
  return {
    head: nodeHead(request),
    request,
    path: pathOf(originalUrl(request)),
    peer: {
      ...(address !== undefined && { address }),
      ...(agent !== undefined && { agent: agent.slice(0, 200) }),
    },
    body,
    interim: (status, headers) => sendInterim(response, status, headers),
    kill: () => {
      if ("stream" in response) response.stream.close();
      else response.socket?.destroy();
    },
  };
}

/**
 * Node has no call for an interim response of one's own choice on HTTP/1. The bytes go to the socket as they are: before
 * the headers of the final response nobody else writes there.
 */
function sendInterim(
  response: NodeResponse,
  status: number,
  headers: Readonly<Record<string, string>>,
): void {
  if (response.headersSent) return;
  if ("stream" in response) {
    if (!response.stream.destroyed)
      response.stream.additionalHeaders({ ":status": status, ...lowerCased(headers) });
    return;
  }
  const { socket } = response;
  if (socket === null || socket.destroyed || response.req.httpVersionMinor === 0) return;
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 ${status} Upload Resumption Supported\r\n${lines.join("")}\r\n`, "latin1");
}

export function sendReply(
  request: NodeRequest,
  response: NodeResponse,
  reply: Reply,
  cors: Readonly<Record<string, string>>,
): void {
  if (response.headersSent || response.destroyed) return;
  const body = reply.problem === undefined ? reply.text : JSON.stringify(reply.problem);
  const headers: Record<string, string> = { ...cors, ...reply.headers };
  if (body !== undefined)
    headers["Content-Type"] ??=
      reply.problem === undefined ? "text/plain; charset=utf-8" : "application/problem+json";
  if (reply.status !== 204 && reply.status !== 304)
    headers["Content-Length"] ??= String(Buffer.byteLength(body ?? ""));
  const withBody = request.method !== "HEAD" && reply.status !== 204 && body !== undefined;
  const http1 = !("stream" in response);
  response.statusCode = reply.status;
  if (http1 && reply.status === 460) response.statusMessage = "Checksum Mismatch";
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  if (withBody) response.end(body);
  else response.end();
  if (!request.readableEnded) drain(request);
}

/** Lets a peer that is still sending read our answer before the connection goes, within bounds. */
function drain(request: NodeRequest): void {
  let left = DRAIN_BYTES;
  request.setTimeout(DRAIN_MS, () => request.destroy());
  request.on("data", (chunk: Uint8Array) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
  request.resume();
}

export async function sendDownload(
  request: NodeRequest,
  response: NodeResponse,
  plan: DownloadPlan,
  source: DownloadSource,
  cors: Readonly<Record<string, string>>,
): Promise<void> {
  response.statusCode = plan.status;
  for (const [name, value] of Object.entries({ ...cors, ...plan.headers })) response.setHeader(name, value);
  if (request.method === "HEAD" || plan.body.length === 0) {
    response.end();
    return;
  }
  const buffers = new BufferRing();
  try {
    for await (const chunk of downloadChunks(plan, source, (bytes) => buffers.take(bytes))) {
      if (response.destroyed) return;
      const written = new Promise<void>((resolve) => {
        writeChunk(response, chunk, () => resolve());
        if (response.destroyed) resolve();
      });
      buffers.lend(chunk, written);
      if (response.writableNeedDrain) await Promise.race([written, drained(response)]);
    }
    response.end();
  } catch (error) {
    // The length was promised already: breaking off is the only way to say that it cannot be kept.
    if ("stream" in response) response.stream.close();
    else response.destroy();
    throw error;
  }
}

function writeChunk(response: NodeResponse, chunk: Uint8Array, done: () => void): void {
  if ("stream" in response) response.write(chunk, done);
  else response.write(chunk, done);
}

/** A few buffers in turn: fresh memory for every chunk costs as much as reading it. */
class BufferRing {
  readonly #buffers: { readonly whole: Buffer; free: Promise<void> }[] = [];
  #next = 0;

  async take(bytes: number): Promise<Buffer> {
    this.#next = (this.#next + 1) % RING_BUFFERS;
    const slot = (this.#buffers[this.#next] ??= {
      whole: Buffer.allocUnsafeSlow(DOWNLOAD_CHUNK_BYTES),
      free: Promise.resolve(),
    });
    await slot.free;
    return slot.whole.subarray(0, bytes);
  }

  /** The buffer that `chunk` lies in is not to be taken before `until`. */
  lend(chunk: Uint8Array, until: Promise<void>): void {
    const slot = this.#buffers.find((one) => one?.whole.buffer === chunk.buffer);
    if (slot !== undefined) slot.free = until;
  }
}

function drained(response: NodeResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.on("drain", done);
    response.on("close", done);
  });
}

/**
 * Node's servers end every request after 300 s, however well it moves: a slow upload would fail for good. Says so, once,
 * for a server that is not ours.
 */
export function requestTimeoutWarning(request: NodeRequest): string | undefined {
  const server = serverOf(request);
  if (server === undefined || server.requestTimeout === 0) return undefined;
  return `requestTimeout of the HTTP server is ${server.requestTimeout} ms: an upload that takes longer is cut off. Set server.requestTimeout = 0; requests that stand still are ended by the idleProgressMs of the transfer policy.`;
}

function serverOf(request: NodeRequest): Server | undefined {
  const socket: object | undefined = request.socket;
  if (socket === undefined || !("server" in socket)) return undefined;
  const { server } = socket;
  return typeof server === "object" &&
    server !== null &&
    "requestTimeout" in server &&
    typeof server.requestTimeout === "number"
    ? (server as Server)
    : undefined;
}

/** Express and its like cut the mount point off `url` and keep the whole in `originalUrl`. */
function originalUrl(request: NodeRequest): string {
  const original: unknown = "originalUrl" in request ? request.originalUrl : undefined;
  return typeof original === "string" ? original : (request.url ?? "/");
}

function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end < 0 ? url : url.slice(0, end);
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** One is being read into, one is held back, and one is on its way. */
const RING_BUFFERS = 3;
const DRAIN_BYTES = 8 << 20;
const DRAIN_MS = 10_000;
