import type { NodeResponse } from "./node.ts";

const HELD = ["writeHead", "flushHeaders", "write", "end"] as const;

/**
 * Keeps a response back while writes are under way: what the application sends meanwhile is queued in order and goes
 * out once they have settled, so nobody is told of a change that is not stored yet. It touches the response only while
 * something is pending.
 */
export class ResponseGate {
  readonly #response: NodeResponse;
  readonly #queue: (() => void)[] = [];
  #pending = 0;

  constructor(response: NodeResponse) {
    this.#response = response;
  }

  hold(work: Promise<unknown>): void {
    if (this.#pending++ === 0) this.#close();
    const release = (): void => {
      if (--this.#pending === 0) this.#open();
    };
    // Whoever called is told of a failure; the gate only has to open again.
    work.then(release, release);
  }

  #close(): void {
    for (const name of HELD) {
      const original: unknown = Reflect.get(this.#response, name);
      if (typeof original !== "function") continue;
      const held = (...args: unknown[]): unknown => {
        this.#queue.push(() => void Reflect.apply(original, this.#response, args));
        return name === "write" ? false : this.#response;
      };
      Object.defineProperty(this.#response, name, { value: held, configurable: true, writable: true });
    }
  }

  #open(): void {
    for (const name of HELD) Reflect.deleteProperty(this.#response, name);
    const queued = this.#queue.splice(0);
    for (const send of queued) send();
    // A write that was queued said "wait for drain".
    if (queued.length > 0 && !this.#response.writableEnded && !this.#response.writableNeedDrain) {
      this.#response.emit("drain");
    }
  }
}
