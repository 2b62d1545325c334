import { createServer } from "node:http";
import { isHoldfastError } from "../../src/kernel/index.ts";
import { up } from "../../src/gateway/index.ts";
import { hashPassword } from "../../src/mechanisms/socks/index.ts";
import { createDemo } from "./app.ts";
import { readArguments } from "./arguments.ts";

/** What script/server runs: the gateway with its console, and the demo site beside it on the same kernel. */
const { port, data } = readArguments(
  "The gateway with its console, and a small site whose sessions it shows.",
);
const ADMIN_PORT = 7070;
const HOW: Readonly<Record<string, string>> = {
  socks: " (user demo, password demo; to this machine only)",
  transfer: " (for holdfast put; user demo, password demo)",
};

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
  const users = [{ name: "demo", hash: await hashPassword("demo") }];
  const gateway = await up({
    data,
    log: { level: "warn" },
    admin: { port: await portFor(port === 0 ? 0 : ADMIN_PORT) },
    listeners: [
      { mechanism: "web", name: "verify", port: 0 },
      // On the loopback and to the loopback: what comes through it could have gone there by itself.
      {
        mechanism: "socks",
        name: "proxy",
        port: 0,
        users,
        rules: [{ action: "allow", addresses: ["loopback"] }],
      },
      { mechanism: "transfer", name: "uploads", port: 0, users },
    ],
  });
  const demo = await createDemo(gateway.kernel, data);
  // An upload may take as long as it moves.
  const site = createServer({ requestTimeout: 0 }, demo.handle);
  await listen(site, port);
  for (const { name, mechanism, address } of gateway.listeners) {
    const how = HOW[mechanism] ?? "";
    say(`${name.padEnd(8)} ${address}${how}`);
  }
  say(`console  ${gateway.adminOrigin}`);
  say(`sign in to the console once: ${await gateway.signInLink()}`);
  const address = site.address();
  say(`ready http://127.0.0.1:${typeof address === "object" ? address?.port : port}`);
  await stop;
  site.close();
  site.closeIdleConnections();
  await demo.close();
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
