// Runs as a process of its own, so that its CPU and memory are the server's alone.
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { FileStore } from "@tus/file-store";
import { Server as TusServer } from "@tus/server";
import { createKernel } from "../../src/kernel/index.ts";
import { createTransfers, openDiskStorage } from "../../src/mechanisms/transfer/index.ts";
import { memory } from "../../src/store/memory/index.ts";

export type Side = "holdfast" | "peer";

const [, program, side, directory = ""] = process.argv;
if (program?.endsWith("server.js") === true) await main(side === "holdfast" ? "holdfast" : "peer");

async function main(which: Side): Promise<void> {
  const file = join(directory, "download.bin");
  mkdirSync(join(directory, which), { recursive: true });
  const listener = which === "holdfast" ? await holdfast(file) : await peer(file);
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, listener);
  server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
  process.on("message", () => {
    globalThis.gc?.();
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuUs: user + system, rssBytes: process.memoryUsage.rss() });
  });
  process.on("disconnect", () => process.exit(0));
}

async function holdfast(file: string): Promise<RequestListener> {
  const kernel = createKernel({ store: memory() });
  const store = await openDiskStorage(join(directory, "holdfast"));
  const transfers = createTransfers({ store, kernel });
  const download = transfers.download(file);
  return (request, response) => {
    void (request.url === "/download" ? download : transfers).node(request, response);
  };
}

async function peer(file: string): Promise<RequestListener> {
  const tus = new TusServer({
    path: "/files",
    datastore: new FileStore({ directory: join(directory, "peer") }),
    relativeLocation: true,
  });
  // `send` has no types of its own.
  const loaded: unknown = (await import("send" as string)) as unknown;
  const send = (loaded as { default: (request: unknown, path: string) => { pipe(to: unknown): void } })
    .default;
  return (request, response) => {
    if (request.url === "/download") send(request, file).pipe(response);
    else void tus.handle(request, response);
  };
}
