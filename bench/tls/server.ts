// The Node servers that the TLS benchmark measures, each in a process of its own: node server.js KIND FOLDER
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { TlsOptions } from "node:tls";
import { createServer } from "node:tls";
import { createKernel } from "../../src/kernel/index.ts";
import type { TlsSessions } from "../../src/mechanisms/tls/index.ts";
import { tlsSessions } from "../../src/mechanisms/tls/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { memory } from "../../src/store/memory/index.ts";

const [kind = "", place = ""] = process.argv.slice(2);
/** As short as nginx's and HAProxy's can be. */
const ANSWER = "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";

/** Ours, on a store of this process's own as stock tickets have their keys, or on one that several processes share. */
async function ours(mode: "ticket" | "cache", isShared: boolean): Promise<TlsSessions> {
  const kernel = createKernel({ store: isShared ? lmdb({ path: join(place, `store-${mode}`) }) : memory() });
  await kernel.start();
  return tlsSessions({ kernel, cluster: "bench", secret: "the same on every one of the processes", mode });
}

const [mode, where] = kind.split(" ");
const sessions = mode === "ticket" || mode === "cache" ? await ours(mode, where === "shared") : undefined;
const options: TlsOptions = {
  cert: readFileSync(join(place, "cert.pem")),
  key: readFileSync(join(place, "key.pem")),
};
const server = createServer(sessions?.serverOptions(options) ?? options, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.once("data", () => socket.end(ANSWER));
});
sessions?.attach(server);
server.listen({ port: 0, host: "127.0.0.1", backlog: 1_024 }, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on("disconnect", () => process.exit());
