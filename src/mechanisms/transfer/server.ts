import { createServer } from "node:http";
import type { Server } from "node:http";
import { isHoldfastError } from "../../kernel/index.ts";
import { openDownload, openFile } from "./download.ts";
import type { DownloadFile, DownloadSource, OpenDownload } from "./download.ts";
import type { DownloadSession } from "./download-session.ts";
import { nodeExchange, nodeHead, requestTimeoutWarning, sendDownload, sendReply } from "./node.ts";
import type { NodeRequest, NodeResponse } from "./node.ts";
import type { TransfersOptions } from "./policy.ts";
import type { TransferStorage, UploadId } from "./storage/storage.ts";
import { TransferService } from "./transfers.ts";
import { downloadResponse, replyResponse, webExchange, webHead } from "./web.ts";

/** Uploads and downloads over HTTP, for any server. */
export interface Transfers {
  /** For node:http, node:http2, express (`app.use("/files", transfers.node)`), fastify (raw), koa (raw). */
  readonly node: (request: NodeRequest, response: NodeResponse) => Promise<void>;
  /** For hono and every other server that speaks `Request` and `Response`. No interim responses, no trailers. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** Serves one file with ranges, validators and digests. */
  readonly download: (file: DownloadFile | string) => Download;
  /** Looks after what expired while nobody listened, and frees what was removed; also done once a minute by itself. */
  sweep(): Promise<{ readonly removed: number; readonly freed: number; readonly forgotten: number }>;
  /** Ends the requests under way, with all they brought made durable. Store and kernel stay open. */
  close(): Promise<void>;
}

export interface Download {
  readonly node: (request: NodeRequest, response: NodeResponse) => Promise<void>;
  readonly fetch: (request: Request) => Promise<Response>;
}

export function createTransfers(options: TransfersOptions): Transfers {
  const service = new TransferService(options);
  const { clock } = options.kernel;
  let warned = false;
  const warn =
    options.onWarning ??
    ((warning: string) => process.emitWarning(warning, { code: "HOLDFAST_REQUEST_TIMEOUT" }));
  let cancelSweep = (): void => {};
  let sweeping: Promise<void> = Promise.resolve();
  let closed = false;
  const scheduleSweep = (): void => {
    cancelSweep = clock.after(SWEEP_MS, () => {
      const pass = service.sweep().then(
        () => undefined,
        (error: unknown) => service.fault(error),
      );
      sweeping = pass.then(() => {
        if (!closed) scheduleSweep();
      });
    });
  };
  scheduleSweep();
  return {
    node: async (request, response) => {
      if (!warned) {
        const warning = requestTimeoutWarning(request);
        warned = true;
        if (warning !== undefined) warn(warning);
      }
      const answer = await service.handle(nodeExchange(request, response));
      if (answer === undefined) {
        if (!response.headersSent) request.destroy();
        return;
      }
      if (answer.kind === "reply") {
        sendReply(request, response, answer.reply, answer.cors);
        return;
      }
      const source = await sourceOf(options.store, answer);
      await sendAndClose(request, response, { plan: answer.plan, source }, answer.cors, (error) =>
        service.fault(error),
      );
    },
    fetch: async (request) => {
      let killed = false;
      const answer = await service.handle(webExchange(request, () => (killed = true)));
      if (answer === undefined || killed) return new Response(null, { status: 499 });
      if (answer.kind === "reply") return replyResponse(request, answer.reply, answer.cors);
      return downloadResponse(request, answer.plan, await sourceOf(options.store, answer), answer.cors);
    },
    download: (file) =>
      makeDownload(
        typeof file === "string" ? { path: file } : file,
        () => clock.now(),
        (error) => service.fault(error),
      ),
    sweep: () => service.sweep(),
    close: async () => {
      closed = true;
      cancelSweep();
      await sweeping;
      await service.close();
    },
  };
}

/** A server whose requests may take as long as they move. Listens on nothing yet. */
export function createTransferServer(
  transfers: Transfers,
  onFault: (error: unknown) => void = () => {},
): Server {
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 30_000 }, (request, response) => {
    transfers.node(request, response).catch(onFault);
  });
  return server;
}

function makeDownload(file: DownloadFile, now: () => number, fault: (error: unknown) => void): Download {
  return {
    node: async (request, response) => {
      const opened = await openDownload(file, nodeHead(request), now());
      if (opened === undefined) {
        sendReply(request, response, { status: 404, headers: {}, text: "there is no such file\n" }, {});
        return;
      }
      await sendAndClose(request, response, opened, {}, fault);
    },
    fetch: async (request) => {
      const opened = await openDownload(file, webHead(request), now());
      if (opened === undefined) return new Response("there is no such file\n", { status: 404 });
      if (opened.plan.body.length === 0) await opened.source.close();
      return downloadResponse(request, opened.plan, opened.source, {});
    },
  };
}

async function sendAndClose(
  request: NodeRequest,
  response: NodeResponse,
  download: OpenDownload,
  cors: Readonly<Record<string, string>>,
  fault: (error: unknown) => void,
): Promise<void> {
  try {
    await sendDownload(request, response, download.plan, download.source, cors);
  } catch (error) {
    fault(error);
  } finally {
    await download.source.close();
  }
}

/** What is sent, with its session moving along. */
async function sourceOf(
  storage: TransferStorage,
  { upload, session }: { readonly upload: UploadId; readonly session?: DownloadSession },
): Promise<DownloadSource> {
  try {
    const stored = await storedSource(storage, upload);
    return session?.over(stored) ?? stored;
  } catch (error) {
    session?.abandon();
    throw error;
  }
}

/** A complete upload never changes, wherever the storage keeps it. */
async function storedSource(storage: TransferStorage, id: UploadId): Promise<DownloadSource> {
  const path = await storage.path?.(id);
  const file = path === undefined ? undefined : await openFile(path);
  if (file !== undefined) return file;
  return {
    read: async (buffer, position) => {
      let filled = 0;
      try {
        for await (const chunk of storage.read(id, { start: position, end: position + buffer.length })) {
          buffer.set(chunk, filled);
          filled += chunk.length;
        }
      } catch (error) {
        if (!isHoldfastError(error, "invalid-argument")) throw error;
      }
      return filled;
    },
    unchanged: () => Promise.resolve(true),
    close: () => Promise.resolve(),
  };
}

const SWEEP_MS = 60_000;
