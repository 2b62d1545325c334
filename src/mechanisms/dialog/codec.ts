import type { Fault } from "../../wire/fault.ts";
import { fault } from "../../wire/fault.ts";
import { ByteReader, ByteWriter, room } from "../../wire/varint.ts";
import type { Frame, NumberedFrame } from "./frames.ts";
import { BOUND_MESSAGE_BYTES } from "./numbers.ts";
import type { Field } from "./layout.ts";
import { LINK_FRAMES, NUMBERED_FRAMES, UNNUMBERED_FRAMES } from "./layout.ts";

/** Reads the frames of one message of the binding, one after the other. */
export class FrameReader {
  readonly #reader: ByteReader;
  readonly #messageBytes: number;

  constructor(bytes: Uint8Array, messageBytes: number = BOUND_MESSAGE_BYTES) {
    this.#reader = new ByteReader(bytes);
    this.#messageBytes = messageBytes;
  }

  /** What was not read yet. */
  rest(): Uint8Array {
    return this.#reader.bytes.subarray(this.#reader.at);
  }

  /** The next frame, a fault (after which nothing more can be read), or `undefined` at the end. Payloads are views. */
  next(): Frame | Fault | undefined {
    const reader = this.#reader;
    while (!reader.done) {
      const from = reader.at;
      const code = reader.byte();
      const content = CONTENT[code - FIRST_CONTENT];
      if (content !== undefined) {
        const bytes = reader.block(this.#messageBytes);
        if (reader.fault === undefined) return { type: content, bytes };
      } else if (code >= FIRST_EXTENSION) {
        reader.block(this.#messageBytes);
      } else {
        const kind = KINDS[code];
        if (kind === undefined) return fault("unsupported", from, `type:${code}`);
        const frame = readFrame(kind, reader);
        if (reader.fault === undefined) return frame;
      }
      if (reader.fault !== undefined)
        return fault(reader.tooLarge ? "too-large" : "malformed", reader.at, reader.fault);
    }
    return undefined;
  }
}

/** All frames of `bytes`, or the first fault. */
export function decodeFrames(bytes: Uint8Array, messageBytes?: number): Frame[] | Fault {
  const reader = new FrameReader(bytes, messageBytes);
  const frames: Frame[] = [];
  for (;;) {
    const frame = reader.next();
    if (frame === undefined) return frames;
    if ("fault" in frame) return frame;
    frames.push(frame);
  }
}

export function encodeFrame(frame: Frame): Uint8Array {
  const writer = new ByteWriter();
  writeFrame(writer, frame);
  return writer.take();
}

export function writeFrame(writer: ByteWriter, frame: Frame): void {
  const code = codeOf(frame.type);
  const values: Readonly<Record<string, unknown>> = frame;
  writer.byte(code);
  for (const [name, field] of KINDS[code]?.fields ?? []) field.write(writer, values[name]);
}

/** DATA, TEXT or TYPED: the path every message takes. */
export function encodeContent(type: ContentType, bytes: Uint8Array): Uint8Array {
  const size = bytes.length;
  const head = size < 0x80 ? 2 : size < 0x4000 ? 3 : size < 0x200000 ? 4 : 5;
  const frame = room(head + size);
  frame[0] = FIRST_CONTENT + CONTENT.indexOf(type);
  let rest = size;
  for (let at = 1; at < head - 1; at++) {
    frame[at] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  frame[head - 1] = rest;
  frame.set(bytes, head);
  return frame;
}

export type ContentType = "data" | "text" | "typed";

/** Bytes of content in an encoded numbered frame; -1 when it is not DATA, TEXT or TYPED. */
export function contentSize(frame: Uint8Array): number {
  if (CONTENT[(frame[0] ?? 0) - FIRST_CONTENT] === undefined) return -1;
  const short = frame[1] ?? 0;
  return short < 0x80 ? short : new ByteReader(frame, 1).varint();
}

export function isNumbered(frame: Frame): frame is NumberedFrame {
  if (frame.type === "data" || frame.type === "text" || frame.type === "typed") return true;
  const code = codeOf(frame.type);
  return code >= FIRST_CONTENT && code < FIRST_UNNUMBERED;
}

/** The layouts hold for each type the fields of just that type, which the compiler has checked there. */
function readFrame({ type, fields }: Kind, reader: ByteReader): Frame {
  const frame: Record<string, unknown> = { type };
  for (const [name, field] of fields) frame[name] = field.read(reader);
  return frame as unknown as Frame;
}

function codeOf(type: Frame["type"]): number {
  return CODES.get(type) ?? 0;
}

const CONTENT: readonly (ContentType | undefined)[] = ["data", "text", "typed"];
const FIRST_CONTENT = 0x10;
const FIRST_UNNUMBERED = 0x40;
const FIRST_EXTENSION = 0x80;

interface Kind {
  readonly type: string;
  readonly fields: readonly (readonly [string, Field<unknown>])[];
}

const KINDS: Kind[] = [];
const CODES = new Map<string, number>();
for (const [first, layouts] of [
  [1, LINK_FRAMES],
  [FIRST_CONTENT, NUMBERED_FRAMES],
  [FIRST_UNNUMBERED, UNNUMBERED_FRAMES],
] as const) {
  let code: number = first;
  for (const [type, layout] of Object.entries(layouts)) {
    CODES.set(type, code);
    KINDS[code++] = { type, fields: Object.entries(layout) };
  }
}
