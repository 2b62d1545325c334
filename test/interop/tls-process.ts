/** One of several HTTPS servers that resume each other's TLS sessions: `tls-process MODE FOLDER KEY CERT CA [PORT PORT]`. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { TLSSocket } from "node:tls";
import { createKernel } from "../../src/kernel/index.ts";
import { tlsSessions } from "../../src/mechanisms/tls/index.ts";
import type { TlsMode } from "../../src/mechanisms/tls/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";

const [, , modeText = "", path = "", keyPath = "", certPath = "", caPath = ""] = process.argv;
const mode: TlsMode = modeText === "cache" ? "cache" : "ticket";
const [key, cert, ca] = [keyPath, certPath, caPath].map((file) => readFileSync(file, "utf8"));
const kernel = createKernel({ store: lmdb({ path }), onFault: say });
const sessions = tlsSessions({
  kernel,
  cluster: "behind a balancer",
  secret: "what three processes know and nobody else",
  mode,
  onFault: say,
});

const answer = (request: IncomingMessage, response: ServerResponse): void => {
  const socket = request.socket as TLSSocket;
  const { pid } = process;
  const told = {
    pid,
    reused: socket.isSessionReused(),
    protocol: socket.getProtocol(),
    authorized: socket.authorized,
  };
  const type = request.url === "/" ? "text/html" : "application/json";
  response.writeHead(200, { "content-type": type, connection: "close", "cache-control": "no-store" });
  response.end(`${JSON.stringify(told)}\n`);
};
const open = https.createServer({ key, cert }, answer);
const closed = https.createServer({ key, cert, ca, requestCert: true, rejectUnauthorized: true }, answer);
sessions.attach(open);
sessions.attach(closed, { ...(ca !== undefined && { ca }) });
const servers = [open, closed];
const listening = servers.map((server, i) => {
  server.listen(Number(process.argv[7 + i] ?? 0), "127.0.0.1");
  return once(server, "listening");
});
await Promise.all(listening);
process.send?.(servers.map((server) => (server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit());

function say(error: unknown): void {
  process.stderr.write(`${String(error)}\n`);
}
