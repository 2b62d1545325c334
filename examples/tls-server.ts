// HTTPS servers whose TLS sessions resume on any of them, and can be ended.
//
//   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key.pem -out cert.pem
//   export TLS_SECRET=$(openssl rand -base64 32)
//   PORT=8443 node build/examples/tls-server.js cert.pem key.pem ./sessions
//   PORT=8444 node build/examples/tls-server.js cert.pem key.pem ./sessions     in another terminal
//   curl -k https://localhost:8443/ https://localhost:8444/
//
// The folder is what both know of who was ended; without it each knows only its own. Type `revoke HANDLE` to end a
// session, `reload` to read the certificate again, `metrics` to see how many resumed. `holdfast tls inspect localhost:8443`
// shows what a client sees.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { TLSSocket } from "node:tls";
import { createKernel, parseHandle } from "../src/kernel/index.ts";
import { tlsSessions } from "../src/mechanisms/tls/index.ts";
import { lmdb } from "../src/store/lmdb/index.ts";
import { memory } from "../src/store/memory/index.ts";

const [cert = "cert.pem", key = "key.pem", folder] = process.argv.slice(2);
const kernel = createKernel({ store: folder === undefined ? memory() : lmdb({ path: folder }) });
await kernel.start();
const sessions = tlsSessions({
  kernel,
  cluster: "example",
  secret: process.env["TLS_SECRET"] ?? "",
  onFault: (error) => console.error(error),
});
const pair = (): { cert: Buffer; key: Buffer } => ({ cert: readFileSync(cert), key: readFileSync(key) });

const server = createServer(sessions.serverOptions(pair()), ({ socket }, response) => {
  if (!(socket instanceof TLSSocket)) throw new TypeError("a request over TLS comes by a TLS socket");
  response.setHeader("connection", "close");
  response.end(
    `${socket.isSessionReused() ? "resumed" : "began"} ${sessions.sessionOf(socket) ?? "nothing"}\n`,
  );
});
sessions.attach(server);
server.listen(Number(process.env["PORT"] ?? 8443), "127.0.0.1", () => {
  console.log(`listening on https://localhost:${(server.address() as AddressInfo).port}`);
});

for await (const line of createInterface({ input: process.stdin })) {
  const [command, text = ""] = line.split(" ");
  const handle = parseHandle(text);
  if (command === "revoke" && handle !== undefined) {
    const { settled } = await sessions.revoke(handle, { reason: "asked for" });
    for (const receipt of await settled) console.log(`${receipt.handle} ${receipt.state}`);
  } else if (command === "reload") {
    server.setSecureContext(pair());
    console.log("reloaded");
  } else if (command === "metrics") console.log(JSON.stringify(sessions.metrics()));
  else console.log("revoke HANDLE | reload | metrics");
}
server.close();
server.closeAllConnections();
sessions.close();
await kernel.close();
await kernel.store.close();
