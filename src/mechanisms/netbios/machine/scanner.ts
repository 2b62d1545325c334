import type { Fault } from "../../../wire/index.ts";
import { fault, isFault } from "../../../wire/index.ts";
import type { LengthBits } from "../codec/session.ts";
import { HEADER_BYTES, PACKET_TYPE, readHeader } from "../codec/session.ts";

/**
 * Follows the packets of one direction of an open session as they stream by. Messages are passed on as they come, in
 * pieces of any size; keepalives, which are between neighbours only, are taken out.
 */
export class Scanner {
  /** Keepalives taken out so far. */
  keepalives = 0;
  /** Messages that began so far. */
  messages = 0;
  readonly #bits: LengthBits;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** Bytes of the current header that are known. */
  #known = 0;
  /** Bytes of the current message's payload still to come. */
  #left = 0;

  constructor(bits: LengthBits) {
    this.#bits = bits;
  }

  /** True between two packets: the only place where a packet of our own may go. */
  get atBoundary(): boolean {
    return this.#known === 0 && this.#left === 0;
  }

  /** What of `chunk` is to be passed on: itself when there is nothing to take out. */
  scan(chunk: Buffer): Buffer | Fault {
    const kept: Buffer[] = [];
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      const begun = at - this.#known;
      if (this.#known === 0) {
        const type = chunk[at] ?? 0;
        if (type !== PACKET_TYPE.message && type !== PACKET_TYPE.keepalive) return unexpected(at, type);
      }
      while (this.#known < HEADER_BYTES && at < chunk.length) this.#header[this.#known++] = chunk[at++] ?? 0;
      const keepalive = this.#header[0] === PACKET_TYPE.keepalive;
      if (keepalive) {
        // Its bytes never pass, however they are cut. Those of a message pass at once, even before its length is known.
        if (begun > from) kept.push(chunk.subarray(from, begun));
        from = at;
      }
      if (this.#known < HEADER_BYTES) break;
      const header = readHeader(this.#header, 0, this.#bits);
      if (isFault(header)) return { ...header, at: Math.max(begun, 0) };
      this.#known = 0;
      this.#left = header.length;
      if (keepalive) this.keepalives++;
      else this.messages++;
    }
    if (from === 0) return chunk;
    if (kept.length === 0) return chunk.subarray(from);
    if (from < chunk.length) kept.push(chunk.subarray(from));
    return kept.length === 1 ? (kept[0] ?? EMPTY) : Buffer.concat(kept);
  }
}

function unexpected(at: number, type: number): Fault {
  return fault(
    "misbehaved",
    at,
    `a packet of type 0x${type.toString(16).padStart(2, "0")} within an open session`,
  );
}

const EMPTY = Buffer.alloc(0);
