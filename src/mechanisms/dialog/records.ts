import type { Fault } from "../../wire/fault.ts";
import { fault } from "../../wire/fault.ts";

/** The frames of one message of a stream binding, behind their length in four bytes, big-endian. */
export function toRecord(frames: Uint8Array): Uint8Array {
  const record = new Uint8Array(4 + frames.length);
  new DataView(record.buffer).setUint32(0, frames.length);
  record.set(frames, 4);
  return record;
}

/** Cuts a byte stream, however it arrives, into the records it was made of. */
export class RecordSplitter {
  readonly #maxBytes: number;
  #held: Uint8Array = new Uint8Array(0);
  #size = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The records that are complete with `chunk`, or a fault: an empty or too large record. */
  push(chunk: Uint8Array): Uint8Array[] | Fault {
    let bytes = chunk;
    if (this.#size > 0) {
      this.#append(chunk);
      bytes = this.#held.subarray(0, this.#size);
    }
    const records: Uint8Array[] = [];
    let at = 0;
    while (bytes.length - at >= 4) {
      const size = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
      if (size === 0) return fault("malformed", at, "an empty record");
      if (size > this.#maxBytes)
        return fault("too-large", at, `a record of ${size} bytes; ${this.#maxBytes} are allowed`);
      if (bytes.length - at - 4 < size) break;
      records.push(bytes.subarray(at + 4, at + 4 + size));
      at += 4 + size;
    }
    const rest = bytes.subarray(at);
    // What was given out is never written over: a rest moves to room of its own.
    if (this.#size === 0 || at > 0) {
      this.#held = new Uint8Array(Math.max(64, rest.length * 2));
      this.#held.set(rest);
      this.#size = rest.length;
    }
    return records;
  }

  #append(chunk: Uint8Array): void {
    const needed = this.#size + chunk.length;
    if (needed > this.#held.length) {
      const larger = new Uint8Array(needed * 2);
      larger.set(this.#held.subarray(0, this.#size));
      this.#held = larger;
    }
    this.#held.set(chunk, this.#size);
    this.#size = needed;
  }
}
