import { createKernel } from "../../src/kernel/index.ts";
import { createNameService, createNetbios } from "../../src/mechanisms/netbios/index.ts";
import { memory } from "../../src/store/memory/index.ts";

/** A gateway and its name service in a process of their own, for tests within a network namespace. */
const [address = "", broadcast = "", backendPort = ""] = process.argv.slice(2);
const kernel = createKernel({ store: memory() });
const gateway = createNetbios({
  kernel,
  backends: { nas: { host: address, port: Number(backendPort) } },
  routes: [{ called: "FILESRV", backend: "nas" }],
});
const names = createNameService({
  kernel,
  names: gateway.names.map(({ name }) => name),
  addresses: [address],
  register: "own-address",
});
await gateway.listen({ host: address });
await names.listen({ host: address, broadcast });
process.stdout.write("ready\n");
// Each line asks what is registered; the end of the input ends it.
for await (const chunk of process.stdin) {
  if (String(chunk).includes("?")) process.stdout.write(`${JSON.stringify(names.registered)}\n`);
}
await names.close();
await gateway.close();
await kernel.close();
