import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createConsole } from "../../src/console/index.ts";
import type { Console, ConsoleTokens } from "../../src/console/index.ts";
import { Revocations } from "../../src/governance/index.ts";
import type { Kernel } from "../../src/kernel/index.ts";
import { createKernel } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";

/** An admin API of its own on a free port, over a memory store. */
export interface Admin {
  readonly kernel: Kernel;
  readonly revocations: Revocations;
  readonly console: Console & ConsoleTokens;
  readonly server: Server;
  readonly base: string;
  readonly operator: string;
  readonly viewer: string;
  close(): Promise<void>;
}

export async function startAdmin(): Promise<Admin> {
  const kernel = createKernel({ store: memory(), node: "here", policy: { receiptMs: 500 } });
  await kernel.start();
  const revocations = new Revocations(kernel);
  const server = createServer((request, response) => void admin.handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const admin = createConsole({
    kernel,
    revocations,
    listeners: () => [],
    version: "0.0.0",
    origin: base,
    secure: false,
    refusals: () => kernel.refusals,
    tls: () => ({ handshakes: 6, offered: 4, resumed: 3, refusals: { expired: 1 } }),
    log: { info() {}, warn() {}, error: (about: object) => console.error(about) },
  });
  const operator = await admin.token("operator", "op");
  const viewer = await admin.token("viewer", "look");
  return {
    kernel,
    revocations,
    console: admin,
    server,
    base,
    operator,
    viewer,
    async close() {
      await admin.close();
      server.closeAllConnections();
      server.close();
      revocations.close();
      await kernel.close();
    },
  };
}
