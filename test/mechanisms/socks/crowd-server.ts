// A SOCKS server, or a destination, in a process of its own, so that its memory can be weighed.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { Clock } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import { createSocks } from "../../../src/mechanisms/socks/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** Moves only when told to, as VirtualClock does, but past tens of thousands of timers in one step. */
class StandingClock implements Clock {
  #now = 1_800_000_000_000;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  advance(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}

if (process.argv[2] === "socks") await socksServer();
else destination();
process.on("disconnect", () => process.exit());

/** Its time stands still until it is told to pass the handshake deadline. */
async function socksServer(): Promise<void> {
  const clock = new StandingClock();
  const kernel = createKernel({ store: memory({ clock }), clock });
  const socks = createSocks({ kernel, rules: [{ action: "allow", addresses: ["loopback"] }] });
  const { port } = await socks.listen();
  process.on("message", (question) => {
    if (question === "pass the deadline") clock.advance(15_000);
    globalThis.gc?.();
    process.send?.({ kib: process.memoryUsage.rss() / 1_024, connections: socks.connections });
  });
  process.send?.({ port, room: sessionsThatFit() });
}

function destination(): void {
  const server = createServer((socket) => socket.on("error", () => socket.destroy()).resume());
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1_024 }, () => {
    const at = server.address();
    process.send?.({ port: at === null || typeof at === "string" ? 0 : at.port });
  });
}

/** A session takes two files, and the process needs some for itself. */
function sessionsThatFit(): number {
  const limit = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return Math.floor((Number(limit ?? Infinity) - 100) / 2);
}
