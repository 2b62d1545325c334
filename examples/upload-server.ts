/**
 * A server that takes uploads and never starts one over: node build/examples/upload-server.js DIRECTORY [PORT]
 *
 * Any tus client works with it, and every client of "resumable uploads for HTTP". Kill it in the middle of an upload,
 * start it again, and the client goes on from the last byte that was acknowledged.
 */
import { mkdir } from "node:fs/promises";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createKernel } from "../src/kernel/index.ts";
import { createTransferServer, createTransfers, openDiskStorage } from "../src/mechanisms/transfer/index.ts";
import { memory } from "../src/store/memory/index.ts";

export async function startUploadServer(
  directory: string,
  port = 0,
): Promise<{ readonly url: string; readonly server: Server; readonly stop: () => Promise<void> }> {
  await mkdir(directory, { recursive: true });
  const kernel = createKernel({ store: memory() });
  const store = await openDiskStorage(join(directory, "uploads"));
  const transfers = createTransfers({
    store,
    kernel,
    policy: { maxBytes: 10 * 1024 ** 3 },
    onFinish: (file) => {
      console.log(
        `${file.name ?? file.id}: ${file.bytes} bytes, sha-256 ${Buffer.from(file.sha256).toString("hex")}`,
      );
    },
    onFault: (error) => console.error(error),
  });
  const server = createTransferServer(transfers);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/files`;
  return {
    url,
    server,
    stop: async () => {
      // First the requests under way, with what they brought; then the ears.
      await transfers.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await store.close();
      await kernel.close();
    },
  };
}

const [, program, directory, port] = process.argv;
if (program?.endsWith("upload-server.js") === true) {
  const { url, stop } = await startUploadServer(directory ?? "uploads", Number(port ?? 8080));
  console.log(`uploads at ${url}`);
  process.once("SIGTERM", () => void stop());
  process.once("SIGINT", () => void stop());
}
