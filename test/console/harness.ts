import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { createConsole } from "../../src/console/index.ts";
import { Revocations } from "../../src/governance/index.ts";
import { createKernel, type Kernel } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { connection, MovedClock, nameOf } from "./scenes.ts";
import { type Cast, play } from "./story.ts";

/** The console with sessions to show, as the gateway hosts it: three nodes on one store, and a server on the loopback. */
export interface Harness {
  readonly origin: string;
  readonly kernel: Kernel;
  readonly nodes: readonly Kernel[];
  readonly cast: Cast;
  /** What the console logged as an error. */
  readonly errors: readonly unknown[];
  link(role?: "operator" | "viewer"): Promise<string>;
  /** Cuts every connection, and refuses new ones until `heal`. */
  cut(): void;
  heal(): Promise<void>;
  /** Sessions on all nodes, `count` of them, each with a connection where the mechanism has one. */
  crowd(count: number): Promise<void>;
  /** Begins and ends, suspends and resumes and moves on sessions of the crowd, so many changes a second. Returns how to stop. */
  churn(perSecond: number): () => void;
  stop(): Promise<void>;
}

export async function startHarness(options: { people?: number; port?: number } = {}): Promise<Harness> {
  const store = memory();
  const clock = new MovedClock(PAST_MS);
  const faults: unknown[] = [];
  // Time jumps while the past is played: leases as long as it do not mind.
  const policy = { leaseMs: 4 * PAST_MS };
  const nodes = ["n1", "n2", "n3"].map((node, index) =>
    createKernel({
      store,
      clock,
      node,
      policy,
      about: { pid: process.pid, version: "0.1.0", zone: "abc".charAt(index) },
      onFault: (error) => faults.push(error),
    }),
  );
  const [kernel] = nodes;
  if (kernel === undefined) throw new Error("there is no node");
  await Promise.all(nodes.map((node) => node.start()));
  const revocations = new Revocations(kernel);
  const server = createServer();
  const gate = new Gate(server);
  await gate.listen(options.port ?? 0);
  const admin = createConsole({
    kernel,
    revocations,
    listeners: () => [
      { name: "portal", mechanism: "web", address: "https://127.0.0.1:8443", open: 12, draining: false },
      {
        name: "uploads",
        mechanism: "transfer",
        address: "https://127.0.0.1:8444/files",
        open: 41,
        draining: false,
      },
      { name: "relay", mechanism: "socks", address: "socks5://127.0.0.1:1080", open: 27, draining: false },
    ],
    version: "0.1.0",
    origin: gate.origin,
    secure: false,
    refusals: () => kernel.refusals,
    tls: () => ({
      handshakes: 2_400,
      offered: 2_000,
      resumed: 1_984,
      refusals: { "unknown-key": 9, expired: 5, revoked: 2 },
    }),
    log: { info: () => {}, warn: () => {}, error: (about) => void faults.push(about) },
  });
  server.on("request", (request, response) => void admin.handle(request, response));
  const cast = await play(nodes, clock, options.people ?? 90);
  const crowd = new Crowd(nodes);

  return {
    origin: gate.origin,
    kernel,
    nodes,
    cast,
    errors: faults,
    link: async (role = "operator") => {
      const link = await admin.signInLink();
      if (role === "operator") return link;
      const token = await admin.token("operator", "tests");
      const response = await fetch(`${gate.origin}/api/sign-in-links`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ role }),
      });
      const { link: made } = (await response.json()) as { link: string };
      return made;
    },
    cut: () => gate.cut(),
    heal: () => gate.heal(),
    crowd: (count) => crowd.gather(count),
    churn: (perSecond) => crowd.churn(perSecond),
    stop: async () => {
      await admin.close();
      revocations.close();
      gate.cut();
      await Promise.all(nodes.map((node) => node.close()));
      await store.close();
    },
  };
}

/** A server whose connections can be cut, and that comes back on the same port. */
class Gate {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port = 0;

  constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get origin(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  async heal(): Promise<void> {
    await this.listen(this.#port);
  }
}

class Crowd {
  readonly #nodes: readonly Kernel[];
  readonly #live: { kernel: Kernel; handle: Parameters<Kernel["lookUp"]>[0] }[] = [];
  /** Under change: one thing happens to a session at a time. */
  readonly #busy = new Set<string>();
  #made = 0;

  constructor(nodes: readonly Kernel[]) {
    this.#nodes = nodes;
  }

  async gather(count: number): Promise<void> {
    for (let made = 0; made < count; made += 100)
      await Promise.all(Array.from({ length: Math.min(100, count - made) }, () => this.#begin()));
  }

  churn(perSecond: number): () => void {
    let owed = 0;
    let at = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      owed += ((now - at) / 1000) * perSecond;
      at = now;
      for (; owed >= 1; owed--) void this.#change();
    }, 10);
    return () => clearInterval(timer);
  }

  async #begin(): Promise<void> {
    const index = this.#made++;
    const kernel = this.#nodes[index % this.#nodes.length];
    const mechanism = ["web", "dialog", "transfer", "socks"][index % 4] ?? "web";
    if (kernel === undefined) return;
    const { record } = await kernel.establish({
      mechanism,
      mode: mechanism === "web" ? "request-response" : "full-duplex",
      principal: `${nameOf(index)}.${index % 500}`,
      peer: { address: `10.${index % 250}.${(index >> 8) % 250}.7`, agent: "crowd/1" },
      label: `${mechanism} ${index}`,
      credential: false,
      resumableMs: 3_600_000,
      own: mechanism !== "web",
      ...(mechanism === "transfer" && { checkpoint: { position: 0, total: 1e9 } }),
    });
    if (mechanism !== "web") await kernel.attach(record, connection());
    this.#live.push({ kernel, handle: record.handle });
  }

  async #change(): Promise<void> {
    const dice = Math.random();
    if (dice < 0.1) return this.#begin();
    const index = Math.floor(Math.random() * this.#live.length);
    const one = this.#live[index];
    if (one === undefined || this.#busy.has(one.handle)) return;
    this.#busy.add(one.handle);
    if (dice < 0.2) {
      this.#live[index] = this.#live.at(-1) ?? one;
      this.#live.pop();
      await one.kernel.end(one.handle, { reason: "finished" });
      return;
    }
    await this.#move(one.kernel, one.handle, dice).finally(() => this.#busy.delete(one.handle));
  }

  async #move(kernel: Kernel, handle: Parameters<Kernel["lookUp"]>[0], dice: number): Promise<void> {
    const record = await kernel.lookUp(handle);
    if (record === undefined) return;
    if (record.state === "suspended") await kernel.resume(record);
    else if (dice < 0.4) await kernel.suspend(record);
    else await kernel.checkpoint(record, { position: (record.checkpoint?.position ?? 0) + 1e6, total: 1e9 });
  }
}

const PAST_MS = 200 * 60_000;

// By itself: something to look at while working on the page. `node build/test/console/harness.js 7070 [crowd] [changes a second]`
if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [port = "0", crowd = "0", perSecond = "0"] = process.argv.slice(2);
  const harness = await startHarness({ port: Number(port) });
  if (Number(crowd) > 0) await harness.crowd(Number(crowd));
  if (Number(perSecond) > 0) harness.churn(Number(perSecond));
  process.stdout.write(`${await harness.link()}\n${await harness.link("viewer")}\n`);
}
