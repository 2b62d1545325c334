import type { IncomingMessage } from "node:http";

/** A request's content, handed over in batches: whatever has arrived since the last call. */
export interface Body {
  read(): Promise<BodyRead>;
  /** Ends the reading from this side; a waiting `read` resolves with `stopped`. */
  stop(): void;
  /** After `complete`. */
  trailer(name: string): string | undefined;
}

export type BodyRead =
  | { readonly chunks: readonly Uint8Array[]; readonly bytes: number }
  /** `cut`: the peer or the network broke off. */
  | { readonly end: "complete" | "cut" | "stopped" };

/** The content of a Node request. While a batch is being written, the next one gathers, up to a bound. */
export class NodeBody implements Body {
  readonly #request: IncomingMessage;
  #chunks: Uint8Array[] = [];
  #bytes = 0;
  #end: "complete" | "cut" | "stopped" | undefined;
  #wake: (() => void) | undefined;

  constructor(request: IncomingMessage) {
    this.#request = request;
    if (request.readableEnded) this.#end = "complete";
    else if (request.destroyed) this.#end = "cut";
    request.on("data", (chunk: Uint8Array) => {
      if (this.#end === "stopped") return;
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      if (this.#bytes >= GATHER_BYTES) request.pause();
      this.#rouse();
    });
    request.on("end", () => this.#finish("complete"));
    request.on("error", () => this.#finish("cut"));
    request.on("close", () => this.#finish("cut"));
  }

  async read(): Promise<BodyRead> {
    while (this.#bytes === 0 && this.#end === undefined)
      await new Promise<void>((resolve) => (this.#wake = resolve));
    // What arrived before a cut counts; what arrived before we stopped was taken off already.
    if (this.#bytes === 0) return { end: this.#end ?? "cut" };
    const batch = { chunks: this.#chunks, bytes: this.#bytes };
    this.#chunks = [];
    this.#bytes = 0;
    if (this.#end === undefined) this.#request.resume();
    return batch;
  }

  stop(): void {
    this.#finish("stopped");
  }

  trailer(name: string): string | undefined {
    return this.#request.trailers[name.toLowerCase()];
  }

  #finish(end: "complete" | "cut" | "stopped"): void {
    this.#end ??= end;
    this.#rouse();
  }

  #rouse(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** The content of a fetch `Request`. */
export class WebBody implements Body {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #stop: () => void = () => {};
  readonly #stopped: Promise<"stopped">;
  #pending: Promise<{ done: boolean; value?: Uint8Array | undefined }> | undefined;

  constructor(stream: ReadableStream<Uint8Array> | null) {
    this.#reader = stream?.getReader();
    this.#stopped = new Promise((resolve) => (this.#stop = () => resolve("stopped")));
  }

  async read(): Promise<BodyRead> {
    if (this.#reader === undefined) return { end: "complete" };
    try {
      this.#pending ??= this.#reader.read();
      const next = await Promise.race([this.#pending, this.#stopped]);
      if (next === "stopped") return { end: "stopped" };
      this.#pending = undefined;
      if (next.done || next.value === undefined) return { end: "complete" };
      return { chunks: [next.value], bytes: next.value.length };
    } catch {
      return { end: "cut" };
    }
  }

  stop(): void {
    this.#stop();
  }

  trailer(): undefined {
    return undefined;
  }
}

const GATHER_BYTES = 1 << 20;
