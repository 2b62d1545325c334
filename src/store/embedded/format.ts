import { crc32 } from "node:zlib";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle } from "../../kernel/secret.ts";

/**
 * One record of a segment. All numbers little-endian; a number of a stream takes eight bytes, as a double.
 *
 *     4 size of the body   4 CRC-32 of the body   body:
 *     1 kind   20 handle   8 epoch   8 stamp   8 first   8 from   4 entries   4 size of the mark (−1: none)   mark
 *     then each entry: 4 size, bytes
 *
 * `stamp` counts a writer's records; with the epoch it orders marks, also after they were copied to another segment.
 */
export interface LogRecord {
  readonly kind: RecordKind;
  readonly handle: Handle;
  readonly epoch: number;
  readonly stamp: number;
  /** Entries below were not needed any more when this was written. */
  readonly first: number;
  /** Where its entries begin; of a `state`, where the epoch begins: what a lower epoch wrote from there on is void. */
  readonly from: number;
  readonly mark: Uint8Array | undefined;
  readonly entries: readonly Uint8Array[];
}

export const KINDS = ["state", "batch", "copy", "drop"] as const;
export type RecordKind = (typeof KINDS)[number];

const HEAD_BYTES = 8;
const FIXED_BYTES = 1 + 20 + 8 * 4 + 4 + 4;
/** More than this is not a record but rubbish. */
const MAX_BODY = 1 << 30;

export function encodeRecord(record: LogRecord): Buffer {
  const { mark, entries } = record;
  let size = FIXED_BYTES + (mark?.length ?? 0);
  for (const entry of entries) size += 4 + entry.length;
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + size);
  let at = HEAD_BYTES;
  bytes[at++] = KINDS.indexOf(record.kind);
  at += bytes.write(record.handle, at, 20, "latin1");
  for (const value of [record.epoch, record.stamp, record.first, record.from])
    at = bytes.writeDoubleLE(value, at);
  at = bytes.writeUInt32LE(entries.length, at);
  at = bytes.writeInt32LE(mark?.length ?? -1, at);
  if (mark !== undefined) {
    bytes.set(mark, at);
    at += mark.length;
  }
  for (const entry of entries) {
    at = bytes.writeUInt32LE(entry.length, at);
    bytes.set(entry, at);
    at += entry.length;
  }
  bytes.writeUInt32LE(size, 0);
  bytes.writeUInt32LE(crc32(bytes.subarray(HEAD_BYTES)), 4);
  return bytes;
}

export interface Decoded {
  readonly record: LogRecord;
  /** Bytes it takes, head included. */
  readonly size: number;
}

/** The record at `at`, or `undefined` when there is none that is whole: the end, or where a write was torn. */
export function decodeRecord(bytes: Buffer, at: number): Decoded | undefined {
  const size = recordSize(bytes, at);
  if (size === undefined || at + size > bytes.length) return undefined;
  const body = bytes.subarray(at + HEAD_BYTES, at + size);
  if (crc32(body) !== bytes.readUInt32LE(at + 4)) return undefined;
  const kind = KINDS[body[0] ?? KINDS.length];
  const handle = parseHandle(body.toString("latin1", 1, 21));
  if (kind === undefined || handle === undefined) return undefined;
  const count = body.readUInt32LE(53);
  const markSize = body.readInt32LE(57);
  let from = FIXED_BYTES;
  const mark = markSize < 0 ? undefined : body.subarray(from, (from += markSize));
  const entries: Uint8Array[] = [];
  for (let index = 0; index < count && from + 4 <= body.length; index++) {
    const length = body.readUInt32LE(from);
    entries.push(body.subarray(from + 4, from + 4 + length));
    from += 4 + length;
  }
  if (from !== body.length || entries.length !== count) return undefined;
  const number = (index: number): number => body.readDoubleLE(21 + 8 * index);
  const record = {
    kind,
    handle,
    epoch: number(0),
    stamp: number(1),
    first: number(2),
    from: number(3),
    mark,
    entries,
  };
  return { record, size };
}

/** What the record at `at` takes, when at least its size is there; `undefined` when it is not, or cannot be. */
export function recordSize(bytes: Buffer, at: number): number | undefined {
  if (at + HEAD_BYTES > bytes.length) return undefined;
  const size = bytes.readUInt32LE(at);
  return size < FIXED_BYTES || size > MAX_BODY ? undefined : HEAD_BYTES + size;
}
