import type { Fault } from "../../wire/fault.ts";
import { fault } from "../../wire/fault.ts";

/**
 * Cuts a stream into messages (RFC 6587). Each may come either way: counted (`17 <34>1 …`, §3.4.1), or up to a line feed
 * (§3.4.2), which a message of its own cannot hold.
 */
export class MessageSplitter {
  readonly #maxBytes: number;
  #held: Buffer = Buffer.alloc(0);
  /** There is no line feed before. */
  #searched = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The messages that are complete with `chunk`, or a fault, after which nothing more can be told apart. */
  push(chunk: Uint8Array): Buffer[] | Fault {
    const bytes = this.#held.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#held, chunk]);
    const messages: Buffer[] = [];
    let at = 0;
    while (at < bytes.length) {
      const first = bytes[at] ?? 0;
      if (first === LF || first === CR || first === NUL) {
        at++;
        continue;
      }
      const end = first >= ONE && first <= NINE ? this.#counted(bytes, at) : this.#line(bytes, at);
      if (end === undefined) break;
      if ("fault" in end) return end;
      messages.push(bytes.subarray(end.from, end.to));
      this.#searched = 0;
      at = end.to;
    }
    this.#searched = Math.max(0, bytes.length - at);
    this.#held = bytes.subarray(at);
    return messages;
  }

  /** What the last message was, of a peer that does not end its last line. */
  end(): Buffer | undefined {
    const rest = this.#held;
    const first = rest[0] ?? ONE;
    return rest.length === 0 || (first >= ONE && first <= NINE) ? undefined : withoutReturn(rest);
  }

  #counted(bytes: Buffer, at: number): { from: number; to: number } | Fault | undefined {
    const found = /^([1-9]\d{0,8}) /.exec(bytes.toString("latin1", at, at + 10));
    if (found === null) {
      const digits = /^\d{1,9}$/.test(bytes.toString("latin1", at, at + 10));
      return digits ? undefined : fault("malformed", at, "a length, a space, and so many bytes");
    }
    const size = Number(found[1]);
    if (size > this.#maxBytes)
      return fault("too-large", at, `a message of ${size} bytes; ${this.#maxBytes} are allowed`);
    const from = at + found[0].length;
    return bytes.length < from + size ? undefined : { from, to: from + size };
  }

  #line(bytes: Buffer, at: number): { from: number; to: number } | Fault | undefined {
    if (bytes[at] !== LESS) return fault("malformed", at, "a message begins with its length, or with <");
    const lf = bytes.indexOf(LF, at + this.#searched);
    const to = lf < 0 ? bytes.length : lf;
    if (to - at > this.#maxBytes)
      return fault("too-large", at, `a message of more than ${this.#maxBytes} bytes`);
    return lf < 0 ? undefined : { from: at, to: at + withoutReturn(bytes.subarray(at, to)).length };
  }
}

function withoutReturn(line: Buffer): Buffer {
  return line.at(-1) === CR ? line.subarray(0, -1) : line;
}

const NUL = 0;
const LF = 0x0a;
const CR = 0x0d;
const ONE = 0x31;
const NINE = 0x39;
const LESS = 0x3c;
