import type { IncomingMessage, ServerResponse } from "node:http";
import type { Kernel } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import type { Dialog } from "./dialog.ts";
import { toEvent } from "./event-stream.ts";
import type { Feed, FeedItem } from "./feed.ts";
import { answer, STREAM_HEADERS } from "./http-links.ts";
import type { Welcome } from "./options.ts";
import type { Arrival } from "./server.ts";

export interface FeedReaderOptions {
  readonly kernel: Kernel;
  readonly feed: Feed;
  readonly welcome: Welcome;
  readonly onFault: (error: unknown) => void;
}

/**
 * Answers a request with a feed as plain events, `id` their number: behind `Last-Event-ID`, else from `?from=` (a number,
 * `oldest`, or `newest`, the default). The reader is a session for as long as it reads.
 */
export async function serveFeed(
  request: IncomingMessage,
  response: ServerResponse,
  { kernel, feed, welcome, onFault }: FeedReaderOptions,
): Promise<void> {
  const from = startOf(request);
  if (from === undefined) return answer(response, 400);
  const { principal, parent, roles, tenant, device } = welcome;
  const gone = new AbortController();
  request.resume();
  response.on("error", () => undefined);
  response.on("close", () => gone.abort());
  try {
    const { record } = await kernel.establish({
      mechanism: "dialog",
      mode: "simplex",
      label: feed.name,
      own: true,
      credential: false,
      peer: { address: request.socket.remoteAddress ?? "", ...(device !== undefined && { device }) },
      ...(principal !== undefined && { principal }),
      ...(parent !== undefined && { parent }),
      ...(roles !== undefined && { roles }),
      ...(tenant !== undefined && { tenant }),
    });
    const detach = await kernel.attach(record, { close: () => void response.destroy() });
    let end: "bye" | "crashed" = "bye";
    try {
      response.writeHead(200, STREAM_HEADERS);
      response.write(`retry: ${RETRY_MS}\n\n`);
      await tell(feed, from, response, gone.signal);
    } catch (error) {
      end = "crashed";
      throw error;
    } finally {
      detach();
      await kernel.end(record, { reason: end });
    }
  } catch (error) {
    if (!response.headersSent) answer(response, statusOf(error));
    else response.destroy();
    if (statusOf(error) === 503 && !isHoldfastError(error, "store-unavailable")) onFault(error);
  }
}

async function tell(
  feed: Feed,
  from: number | "oldest" | "newest",
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const beat = setInterval(() => response.write(": still here\n\n"), BEAT_MS);
  try {
    for await (const item of feed.follow(from, signal))
      if (!response.write(eventOf(item))) await flushed(response, signal);
  } finally {
    clearInterval(beat);
  }
}

function eventOf(item: FeedItem): string {
  if (item.type === "gap") {
    const { from, to } = item;
    return toEvent(JSON.stringify({ from, to }), { event: "gap", id: String(to) });
  }
  if (item.type === "reset") return toEvent("the numbers begin anew", { event: "reset" });
  const id = String(item.number);
  return item.kind === "text"
    ? toEvent(decoder.decode(item.bytes), { id })
    : toEvent(Buffer.from(item.bytes).toString("base64"), { event: "data", id });
}

function flushed(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    if (signal.aborted) return done();
    response.on("drain", done);
    signal.addEventListener("abort", done);
  });
}

/**
 * Sends a feed on over a dialog, as JSON texts: `{"n":16,"topic":"news"}` before everything, then `{"n":17,"text":"…"}`,
 * `{"n":18,"data":"<base64>"}`, `{"n":40,"gap":[19,40]}`. A dialog that comes from another node goes on behind what was sent
 * there. Resolves when the dialog is over, here.
 */
export async function passOn(
  feed: Feed,
  dialog: Dialog,
  arrival: Pick<Arrival, "lastSent">,
  from: number | "oldest" | "newest",
): Promise<void> {
  const over = new AbortController();
  dialog.on("end", () => over.abort());
  try {
    const last = await arrival.lastSent();
    let next = last === undefined ? undefined : numberOf(last.bytes) + 1;
    if (next === undefined) {
      next = await feed.place(from);
      await dialog.send(JSON.stringify({ n: next - 1, topic: feed.name }));
    }
    for await (const item of feed.follow(next, over.signal)) await dialog.send(messageOf(item));
  } catch (error) {
    // It was revoked, or goes on elsewhere.
    if (!isHoldfastError(error, "session-ended")) throw error;
  }
}

/** Adds what comes over a dialog to a feed, each message once, however often it comes again. */
export async function takeIn(feed: Feed, dialog: Dialog): Promise<void> {
  try {
    for await (const message of dialog) {
      const content = message.kind === "text" ? message.text : message.bytes;
      await feed.publish(content, { id: dialog.handle, number: message.number });
      await message.commit();
    }
  } catch (error) {
    if (!isHoldfastError(error, "session-ended")) throw error;
  }
}

function messageOf(item: FeedItem): string {
  if (item.type === "gap") return JSON.stringify({ n: item.to, gap: [item.from, item.to] });
  if (item.type === "reset") return JSON.stringify({ n: -1, reset: true });
  return item.kind === "text"
    ? JSON.stringify({ n: item.number, text: decoder.decode(item.bytes) })
    : JSON.stringify({ n: item.number, data: Buffer.from(item.bytes).toString("base64") });
}

function numberOf(bytes: Uint8Array): number {
  const said: unknown = JSON.parse(decoder.decode(bytes));
  const number = typeof said === "object" && said !== null && "n" in said ? said.n : undefined;
  return typeof number === "number" ? number : -1;
}

function startOf(request: IncomingMessage): number | "oldest" | "newest" | undefined {
  const last = request.headers["last-event-id"];
  if (typeof last === "string" && last !== "") return /^\d{1,15}$/.test(last) ? Number(last) + 1 : undefined;
  const from = new URL(request.url ?? "/", "http://localhost").searchParams.get("from") ?? "newest";
  if (from === "newest" || from === "oldest") return from;
  return /^\d{1,15}$/.test(from) ? Number(from) : undefined;
}

function statusOf(error: unknown): number {
  const code = isHoldfastError(error) ? error.code : "";
  if (code === "locked" || code === "establish-refused") return 403;
  return code === "limit-reached" ? 429 : 503;
}

const RETRY_MS = 500;
const BEAT_MS = 15_000;
const decoder = new TextDecoder();
