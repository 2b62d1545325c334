import type { Fault } from "./fault.ts";
import { isFault } from "./fault.ts";

/**
 * What decoding the front of a stream comes to: a message and how many bytes it took, a fault, or `undefined` when the
 * message is not all there yet.
 */
export type Decoded<T> = Frame<T> | Fault | undefined;

export interface Frame<T> {
  readonly message: T;
  /** At least 1. */
  readonly size: number;
}

/** Collects a stream as it comes, in pieces of any size, and gives it back message by message. */
export class Inbox {
  #held: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  /** `#held` is the caller's chunk, not ours to write into. */
  #borrowed = true;

  /** Bytes that came and were not yet taken. */
  get size(): number {
    return this.#end - this.#start;
  }

  /** Takes a chunk over; the caller must not overwrite it while any of it is unread. */
  append(chunk: Buffer): void {
    if (chunk.length === 0) return;
    const size = this.size;
    if (size === 0) {
      this.#held = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#borrowed = true;
      return;
    }
    // Room grows by doubling, so that a message arriving byte by byte is not copied once a byte.
    if (this.#borrowed || this.#end + chunk.length > this.#held.length) {
      const larger = Buffer.allocUnsafe(Math.max(64, (size + chunk.length) * 2));
      this.#held.copy(larger, 0, this.#start, this.#end);
      this.#held = larger;
      this.#start = 0;
      this.#end = size;
      this.#borrowed = false;
    }
    chunk.copy(this.#held, this.#end);
    this.#end += chunk.length;
  }

  /**
   * The next message, `undefined` when more bytes are needed, or a fault; a fault takes nothing, so it comes again.
   * Views in the message stay valid: what was taken is never overwritten.
   */
  take<T>(decode: (bytes: Buffer) => Decoded<T>): T | Fault | undefined {
    if (this.size === 0) return undefined;
    const decoded = decode(this.peek());
    if (decoded === undefined || isFault(decoded)) return decoded;
    this.#start += decoded.size;
    if (this.size <= 0) this.#release();
    return decoded.message;
  }

  /** What is there, without taking it. */
  peek(): Buffer {
    return this.#held.subarray(this.#start, this.#end);
  }

  /** Everything that is left, untouched: what came behind the last message of a handshake. */
  drain(): Buffer {
    const left = this.peek();
    this.#release();
    return left;
  }

  #release(): void {
    this.#held = EMPTY;
    this.#start = 0;
    this.#end = 0;
    this.#borrowed = true;
  }
}

const EMPTY = Buffer.alloc(0);
