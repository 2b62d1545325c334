// One of several processes that share a store: it carries sessions over TCP and does what its parent asks.
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import { createInterface } from "node:readline";

import { Revocations } from "../../src/governance/index.ts";
import type {
  Handle,
  Kernel,
  Receipt,
  Selector,
  SessionRecord,
  SessionStore,
} from "../../src/kernel/index.ts";
import { createKernel, isHoldfastError, parseHandle } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { nearCache } from "../../src/store/near/index.ts";
import { postgres } from "../../src/store/postgres/index.ts";
import { redis } from "../../src/store/redis/index.ts";

export interface MemberOptions {
  readonly kind: "redis" | "postgres" | "lmdb";
  /** An address, or a folder. */
  readonly at: string;
  readonly node: string;
  readonly leaseMs: number;
  readonly receiptMs: number;
}

export type Order =
  | { readonly do: "revoke" | "preview"; readonly selector: Selector; readonly reason: string }
  | { readonly do: "lock"; readonly selector: Selector; readonly reason: string }
  | { readonly do: "unlock"; readonly id: string }
  | { readonly do: "known"; readonly id: string }
  | { readonly do: "session"; readonly handle: string }
  | { readonly do: "feed" }
  | { readonly do: "abandon"; readonly principal: string };

export interface Account {
  readonly id: string;
  readonly by: string | undefined;
  readonly reason: string;
  readonly node: string;
  readonly settled: boolean;
  readonly receipts: readonly Receipt[];
}

const options = JSON.parse(process.argv[2] ?? "{}") as MemberOptions;
const kernel = createKernel({
  store: nearCache(openStore()),
  node: options.node,
  onFault: (error) =>
    process.env["HOLDFAST_FAULTS"] === "1" && console.error(options.kind, options.node, error),
  policy: { leaseMs: options.leaseMs, receiptMs: options.receiptMs, sweepMs: 300 },
});
await kernel.start();
const revocations = new Revocations(kernel);
const server = createServer((socket) => void carry(kernel, socket));
server.listen(0, "127.0.0.1");
await once(server, "listening");
process.on("message", (message: { id: number; order: Order }) => {
  obey(message.order).then(
    (answer) => process.send?.({ id: message.id, answer }),
    (error: unknown) => process.send?.({ id: message.id, error: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ port: (server.address() as AddressInfo).port });

function openStore(): SessionStore {
  // Generous: what is tested is who hears of what, on a machine that does other things as well.
  const timeoutMs = 2_000;
  if (options.kind === "redis") return redis(options.at, { timeoutMs });
  if (options.kind === "postgres") return postgres(options.at, { timeoutMs, connections: 4 });
  return lmdb({ path: options.at, timeoutMs });
}

/** The first line opens a session: `principal mechanism resumableMs parent`, `-` for none. What follows is echoed. */
async function carry(own: Kernel, socket: Socket): Promise<void> {
  socket.on("error", () => socket.destroy());
  const lines = createInterface({ input: socket });
  let record: SessionRecord | undefined;
  for await (const line of lines) {
    if (record !== undefined) {
      socket.write(`${line}\n`);
      continue;
    }
    const [principal = "", mechanism = "", resumable = "-", parent = "-"] = line.split(" ");
    try {
      const made = await own.establish({
        mechanism,
        mode: "full-duplex",
        principal,
        own: true,
        credential: false,
        peer: { address: String(socket.remoteAddress) },
        ...(resumable !== "-" && { resumableMs: Number(resumable) }),
        ...(parent !== "-" && { parent: parent as Handle }),
      });
      record = made.record;
      await own.attach(record, { close: () => closed(socket) });
      socket.write(`opened ${record.handle}\n`);
    } catch (error) {
      socket.end(`refused ${isHoldfastError(error) ? `${error.code} ${error.message}` : String(error)}\n`);
    }
  }
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) resolve();
    else socket.once("close", () => resolve()).destroy();
  });
}

async function obey(order: Order): Promise<unknown> {
  switch (order.do) {
    case "preview": {
      const { count, byMechanism } = await kernel.preview(order.selector);
      return { count, byMechanism };
    }
    case "revoke": {
      const revocation = await kernel.revoke(order.selector, { reason: order.reason, by: "ops" });
      await revocation.settled;
      return account(revocation.id);
    }
    case "lock": {
      const { barrier, revocation } = await revocations.lock({
        selector: order.selector,
        reason: order.reason,
        by: "ops",
      });
      return { lock: barrier.id, account: account(revocation.id) };
    }
    case "unlock":
      return kernel.unlock(order.id, "ops");
    case "known":
      return account(order.id);
    case "session": {
      const handle = parseHandle(order.handle);
      const record = handle === undefined ? undefined : await kernel.lookUp(handle, { ended: true });
      return record === undefined ? null : { state: record.state, reason: record.ended?.reason ?? null };
    }
    case "feed":
      return kernel.feedLive;
    case "abandon": {
      // As a node that dies between raising the epoch and ending the first session.
      await kernel.store.raiseEpoch(order.principal, [], {
        at: kernel.clock.now(),
        phase: "governance",
        event: "epoch",
        principal: order.principal,
        node: kernel.node,
      });
      return null;
    }
  }
}

function account(id: string): Account | null {
  const known = revocations.get(id);
  if (known === undefined) return null;
  const { by, reason, node, settled, receipts } = known;
  return { id, by, reason, node, settled, receipts };
}
