/**
 * A gateway for named SMB sessions, with the name service that leads hosts to it.
 *
 *   node examples/netbios-gateway.js 192.0.2.10 FILESRV=192.0.2.20:445 OLDNAS=192.0.2.21:139
 *
 * Listens on 192.0.2.10 (TCP 139 and UDP 137; other ports with --port and --name-port) and relays each called name to
 * its server. Prints what happens to sessions and who asks for names that are not there. Ctrl-C lets sessions finish.
 */
import { createKernel } from "../src/kernel/index.ts";
import { createNameService, createNetbios } from "../src/mechanisms/netbios/index.ts";
import type { Backend, Route } from "../src/mechanisms/netbios/index.ts";
import { memory } from "../src/store/memory/index.ts";

const [address = "127.0.0.1", ...words] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const options = new Map(
  process.argv.filter((word) => word.startsWith("--")).map((word) => splitAt(word, "=")),
);

const backends: Record<string, Backend> = {};
const routes: Route[] = [];
for (const word of words) {
  const [called, server] = splitAt(word, "=");
  const [host, port] = splitAt(server, ":");
  // Port 139 wants a session request of its own; any other speaks SMB at once.
  backends[called] = { host, port: Number(port), speaks: port === "139" ? "netbios" : "direct" };
  routes.push({ called, backend: called });
}

const kernel = createKernel({ store: memory() });
kernel.onEntry(({ event, mechanism, handle, detail }) => {
  if (mechanism === "netbios") console.log(event, handle ?? "", JSON.stringify(detail ?? {}));
});

const gateway = createNetbios({ kernel, backends, routes, limits: { idleMs: 8 * 60 * 60 * 1000 } });
const names = createNameService({ kernel, names: Object.keys(backends), addresses: [address] });
const sessions = await gateway.listen({ host: address, port: Number(options.get("--port") ?? 139) });
const lookups = await names.listen({ host: address, port: Number(options.get("--name-port") ?? 137) });
console.log(`sessions on ${sessions.host}:${sessions.port}, names on ${lookups.address}:${lookups.port}`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    void (async () => {
      await names.close();
      await gateway.drain(10_000);
      await kernel.close();
    })();
  });
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}
