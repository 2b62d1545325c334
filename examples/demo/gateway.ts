import { createServer } from "node:http";
import { isHoldfastError } from "../../src/kernel/index.ts";
import { up } from "../../src/gateway/index.ts";
import { createDemo } from "./app.ts";
import { readArguments } from "./arguments.ts";

/** What script/server runs: the gateway with its console, and the demo site beside it on the same kernel. */
const { port, data } = readArguments(
  "The gateway with its console, and a small site whose sessions it shows.",
);
const ADMIN_PORT = 7070;

try {
  await main();
} catch (error) {
  process.stderr.write(
    `${isHoldfastError(error) || error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exit(1);
}

async function main(): Promise<void> {
  const stop = stopSignal();
  const gateway = await up({
    data,
    log: { level: "warn" },
    admin: { port: await portFor(port === 0 ? 0 : ADMIN_PORT) },
    listeners: [{ mechanism: "web", name: "verify", port: 0 }],
  });
  const demo = await createDemo(gateway.kernel);
  const site = createServer(demo.handle);
  await listen(site, port);
  for (const listener of gateway.listeners) say(`${listener.name.padEnd(8)} ${listener.address}`);
  say(`console  ${gateway.adminOrigin}`);
  say(`sign in to the console once: ${await gateway.signInLink()}`);
  const address = site.address();
  say(`ready http://127.0.0.1:${typeof address === "object" ? address?.port : port}`);
  await stop;
  site.close();
  site.closeIdleConnections();
  await gateway.close();
  site.closeAllConnections();
}

/** The usual port if it is free, so that a second demo can run beside a first. */
async function portFor(wanted: number): Promise<number> {
  const probe = createServer();
  try {
    await listen(probe, wanted);
    return wanted;
  } catch {
    return 0;
  } finally {
    await new Promise((resolve) => probe.close(resolve));
  }
}

function listen(server: ReturnType<typeof createServer>, at: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(at, "127.0.0.1", () => resolve());
  });
}

/** Resolves with the first SIGTERM or SIGINT; later ones change nothing. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve());
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
