import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { createKernel } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { nearCache } from "../../src/store/near/index.ts";
import { createDemo } from "./app.ts";
import { readArguments } from "./arguments.ts";

const { port, data } = readArguments("A small site that keeps its logins with Holdfast.");

mkdirSync(data, { recursive: true });
const store = nearCache(lmdb({ path: data }));
const kernel = createKernel({ store, onFault: (error) => process.stderr.write(`${String(error)}\n`) });
await kernel.start();
const demo = await createDemo(kernel);
const server = createServer(demo.handle);
server.on("error", (error) => {
  process.stderr.write(`Cannot listen on port ${port}: ${error.message}\n`);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () => {
  const address = server.address();
  process.stdout.write(`ready http://127.0.0.1:${typeof address === "object" ? address?.port : port}\n`);
});

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    server.close();
    server.closeIdleConnections();
    void kernel.close().then(async () => {
      await store.close();
      server.closeAllConnections();
    });
  });
}
