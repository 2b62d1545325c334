import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { createKernel } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { nearCache } from "../../src/store/near/index.ts";
import { createDemo } from "./app.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8080" },
    data: { type: "string", default: "data" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help) {
  process.stdout.write(
    "Usage: demo [--port N] [--data DIR]\n\nA small site that keeps its logins with Holdfast.\n",
  );
  process.exit(0);
}
const port = Number(values.port);
if (!Number.isInteger(port) || port < 0 || port > 65_535) {
  process.stderr.write(`--port takes a number from 0 to 65535; it is "${values.port}".\n`);
  process.exit(2);
}

mkdirSync(values.data, { recursive: true });
const store = nearCache(lmdb({ path: values.data }));
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
