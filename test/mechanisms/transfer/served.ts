import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import type { IncomingHttpHeaders, Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { createKernel } from "../../../src/kernel/index.ts";
import type { Kernel } from "../../../src/kernel/index.ts";
import {
  createTransferServer,
  createTransfers,
  openDiskStorage,
} from "../../../src/mechanisms/transfer/index.ts";
import type { TransferStorage, Transfers, TransfersOptions } from "../../../src/mechanisms/transfer/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** A transfer server of a test's own, on loopback, with its own directory. */
export interface Served {
  readonly url: string;
  readonly origin: string;
  readonly port: number;
  readonly directory: string;
  readonly kernel: Kernel;
  readonly storage: TransferStorage;
  readonly transfers: Transfers;
  readonly server: Server;
  readonly faults: unknown[];
  /** Stops the server; with `keep`, the directory stays for another. */
  stop(options?: { keep?: boolean }): Promise<void>;
}

/** A test that fails leaves its server behind; the process has to end all the same. */
const running = new Set<Served>();
after(async () => {
  for (const served of running) await served.stop();
});

export type ServeOptions = Omit<Partial<TransfersOptions>, "store"> & { readonly directory?: string };

export async function serve(options: ServeOptions = {}): Promise<Served> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "holdfast-transfer-")));
  const faults: unknown[] = [];
  const storage = await openDiskStorage(directory);
  const kernel = options.kernel ?? createKernel({ store: memory() });
  await kernel.start();
  const transfers = createTransfers({
    onFault: (error) => faults.push(error),
    ...options,
    policy: { watermarkBytes: 0, ...options.policy },
    store: storage,
    kernel,
  });
  const server = createTransferServer(transfers, (error) => faults.push(error));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  const served: Served = {
    url: `${origin}${options.policy?.path ?? "/files"}`,
    origin,
    port,
    directory,
    kernel,
    storage,
    transfers,
    server,
    faults,
    stop: async ({ keep = false } = {}) => {
      running.delete(served);
      await transfers.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await storage.close();
      if (options.kernel === undefined) await kernel.close();
      if (!keep) await rm(directory, { recursive: true, force: true });
    },
  };
  running.add(served);
  return served;
}

export interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  readonly interim: readonly { readonly status: number; readonly headers: IncomingHttpHeaders }[];
}

/** One request over node:http, with everything that came back, interim responses included. */
export function send(
  method: string,
  url: string,
  headers: Readonly<Record<string, string>> = {},
  body?: Uint8Array | string,
  more: { readonly trailers?: Readonly<Record<string, string>> } = {},
): Promise<Got> {
  return new Promise((resolve, reject) => {
    const interim: { status: number; headers: IncomingHttpHeaders }[] = [];
    const sent =
      body === undefined || more.trailers !== undefined
        ? headers
        : { "Content-Length": String(Buffer.byteLength(body)), ...headers };
    const outgoing = request(url, { method, headers: sent, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const whole = Buffer.concat(chunks);
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: whole,
          text: whole.toString("utf8"),
          interim,
        });
      });
    });
    outgoing.on("information", (info) => interim.push({ status: info.statusCode, headers: info.headers }));
    outgoing.on("error", reject);
    if (more.trailers !== undefined) {
      outgoing.write(body ?? "");
      outgoing.addTrailers(more.trailers);
    } else if (body !== undefined) {
      outgoing.write(body);
    }
    outgoing.end();
  });
}

export function tus(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { "Tus-Resumable": "1.0.0", ...headers };
}

export function chunk(
  offset: number,
  headers: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return tus({
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": String(offset),
    ...headers,
  });
}

/** The absolute URL of what a response's Location says. */
export function located(served: Served, got: Got): string {
  const { location } = got.headers;
  if (location === undefined) throw new Error(`no Location in a ${got.status}: ${got.text}`);
  return new URL(location, served.origin).href;
}

export async function createUpload(
  served: Served,
  length: number,
  headers: Readonly<Record<string, string>> = {},
): Promise<string> {
  const got = await send("POST", served.url, tus({ "Upload-Length": String(length), ...headers }));
  if (got.status !== 201) throw new Error(`creation answered ${got.status}: ${got.text}`);
  return located(served, got);
}
