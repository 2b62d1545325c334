import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";

/** A way through the loopback that can be cut, cleanly or not at all. */
export class CutLink {
  /** Where it leads; may be changed for the links that come. */
  target = 0;
  /** New links are refused while it is. */
  down = false;
  links = 0;
  readonly #server: Server;
  readonly #pairs = new Set<{ near: Socket; far: Socket; carries: boolean }>();
  bytes = 0;

  constructor() {
    this.#server = createServer((near) => this.#accept(near));
  }

  async start(target: number): Promise<this> {
    this.target = target;
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Both ends learn of it. */
  reset(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  /** The client learns of it, the server does not: what is on the way is lost. */
  halfOpen(): void {
    for (const pair of this.#pairs) {
      pair.carries = false;
      pair.near.resetAndDestroy();
    }
  }

  /** Nobody learns of it: the links stay open, and nothing comes through them any more. */
  silence(): void {
    for (const pair of this.#pairs) pair.carries = false;
  }

  async stop(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket): void {
    if (this.down) {
      near.resetAndDestroy();
      return;
    }
    this.links++;
    const far = connect(this.target, "127.0.0.1");
    const pair = { near, far, carries: true };
    this.#pairs.add(pair);
    near.on("data", (chunk) => {
      if (pair.carries && !far.write(chunk)) near.pause();
    });
    far.on("data", (chunk) => {
      this.bytes += chunk.length;
      if (pair.carries && !near.write(chunk)) far.pause();
    });
    near.on("drain", () => far.resume());
    far.on("drain", () => near.resume());
    near.on("error", () => undefined);
    far.on("error", () => undefined);
    near.on("close", () => {
      if (pair.carries) far.destroy();
    });
    far.on("close", () => {
      near.destroy();
      this.#pairs.delete(pair);
    });
  }
}
