import type { OnReadOpts } from "node:net";

/**
 * Reading into static buffers (`onread` of `net.connect`), which spares an allocation a read. A connection that is quiet
 * or speaks in small pieces reads into one buffer that all of them share and holds none of its own; one that fills it is
 * lent a larger one for as long as it keeps filling it.
 *
 * Bytes that come before somebody listens are kept, and reading stops until then.
 */
export class ReadPort {
  /** For the options of `net.connect`. */
  readonly onread: OnReadOpts;
  #sink: Sink | undefined;
  #early: Buffer | undefined;
  #lent: Buffer | undefined;

  constructor() {
    this.onread = { buffer: () => this.#lent ?? shared, callback: (size) => this.#read(size) };
  }

  /**
   * From now on `sink` gets each chunk. The caller resumes the socket afterwards.
   * Returns what came before, or `undefined`.
   */
  listen(sink: Sink): Buffer | undefined {
    this.#sink = sink;
    const early = this.#early;
    this.#early = undefined;
    return early;
  }

  /** Nothing will be read any more, and nothing read before is still being written. */
  release(): void {
    this.#giveBack();
    this.#sink = undefined;
  }

  /** The lent buffer is still being written from and belongs to that write now. */
  abandon(): void {
    this.#lent = undefined;
  }

  #giveBack(): void {
    if (this.#lent !== undefined) giveBack(this.#lent);
    this.#lent = undefined;
  }

  #read(size: number): boolean {
    const sink = this.#sink;
    const lent = this.#lent;
    if (lent === undefined || sink === undefined) {
      // The shared buffer is overwritten by the next read of any connection, so what is kept or written is a copy.
      const chunk = Buffer.from(shared.subarray(0, size));
      if (sink === undefined) {
        this.#early = this.#early === undefined ? chunk : Buffer.concat([this.#early, chunk]);
        return false;
      }
      if (size === shared.length) this.#lent = lend();
      return sink(chunk) !== "pause";
    }
    const verdict = sink(lent.subarray(0, size));
    if (verdict === "keep") this.abandon();
    else if (verdict === "go" && size < shared.length) this.#giveBack();
    return verdict !== "pause";
  }
}

/**
 * What becomes of a chunk: `go`: it is dealt with, and its memory free again. `keep`: somebody still reads from it.
 * `pause`: somebody still reads from it, and no more may come until the socket is resumed; by then it is free.
 */
export type Sink = (chunk: Buffer) => "go" | "keep" | "pause";

const SHARED_BYTES = 16_384;
const LENT_BYTES = 131_072;
/** Buffers kept for the next borrower; more are left to the garbage collector. */
const SPARE_BUFFERS = 32;

const shared = Buffer.allocUnsafeSlow(SHARED_BYTES);
const spare: Buffer[] = [];

function lend(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(LENT_BYTES);
}

function giveBack(buffer: Buffer): void {
  if (spare.length < SPARE_BUFFERS) spare.push(buffer);
}
