import { createKernel } from "../../src/kernel/index.ts";
import { createNetbios } from "../../src/mechanisms/netbios/index.ts";
import { memory } from "../../src/store/memory/index.ts";

/** The gateway under measurement, in a process of its own: `gateway.js HOST BACKEND-PORT`. */
const [host = "", backendPort = ""] = process.argv.slice(2);
const gateway = createNetbios({
  kernel: createKernel({ store: memory() }),
  backends: { nas: { host: "127.0.0.1", port: Number(backendPort) } },
  routes: [{ called: "FILESRV", backend: "nas" }],
});
await gateway.listen({ host });
process.stdout.write("ready\n");
