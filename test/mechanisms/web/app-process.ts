/** An application server in a process of its own: `app-process.js STORE ADDRESS`. Tells its port over IPC. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { openStore } from "../../../bench/revoke/stores.ts";
import { createSessions } from "../../../src/web.ts";
import { app } from "./servers.ts";
import type { Data } from "./servers.ts";

const [kind = "", address = ""] = process.argv.slice(2);
const sessions = createSessions<Data>({ store: openStore(kind, address), initial: { n: 0 } });
await sessions.ready();
const server = createServer(async (request, response) => {
  const session = await sessions.node(request, response);
  if (session === undefined) return;
  try {
    const answer = await app(session, request.method ?? "", request.url ?? "");
    response.writeHead(answer.status);
    response.end(answer.body);
  } catch (error) {
    // As Express, Fastify and Koa do it.
    response.writeHead((error as { statusCode?: number }).statusCode ?? 500);
    response.end(String(error));
  }
});
server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.on("disconnect", () => process.exit(0));
