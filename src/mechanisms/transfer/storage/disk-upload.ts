import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { statSync } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Json } from "../../../kernel/index.ts";
import { decodeLog } from "./checkpoint-codec.ts";
import type { ChainedRecord } from "./checkpoint-codec.ts";
import { errorCode } from "./fault.ts";
import type { LossReason, UploadId } from "./storage.ts";

/**
 * What lies on disk for one upload:
 *
 *   ID.1.log  ID.1.data     the first writer's checkpoint log and bytes
 *   ID.2.log  ID.2.data     those of the second writer, which took over; and so on
 *   ID.gone                 removed
 *
 * A claim makes the next pair with O_EXCL, and says in its header which record of the pair before it goes on from. What
 * an earlier writer still does lands in files that are not read beyond that record: it is fenced by construction,
 * without any lock, even if it was stopped for an hour and wakes up in the middle of a write.
 */
export type DiskUpload =
  | { readonly state: "absent" }
  | { readonly state: "gone" }
  | { readonly state: "lost"; readonly why: LossReason }
  | WholeUpload;

export interface WholeUpload {
  readonly state: "whole";
  readonly info: Json;
  readonly createdAt: number;
  /** The last record that counts, the segment it is in, and where in its log the next one goes. */
  readonly last: ChainedRecord;
  readonly segment: number;
  readonly logEnd: number;
  /** The highest segment number there is, also of one that was never finished. */
  readonly highest: number;
  /** Files that together hold bytes 0 to `last.offset`. */
  readonly pieces: readonly Piece[];
  /** Spans with known digests that together cover bytes 0 to `last.offset`. */
  readonly spans: readonly DigestSpan[];
  /** Bytes in the last segment's file; may be more than are committed. */
  readonly lastFileBytes: number;
}

export interface Piece {
  readonly segment: number;
  readonly start: number;
  readonly end: number;
}

export interface DigestSpan {
  readonly start: number;
  readonly end: number;
  readonly digest: Uint8Array;
}

export function logPath(root: string, id: UploadId, segment: number): string {
  return join(root, `${id}.${segment}.log`);
}

export function dataPath(root: string, id: UploadId, segment: number): string {
  return join(root, `${id}.${segment}.data`);
}

export function gonePath(root: string, id: UploadId): string {
  return join(root, `${id}.gone`);
}

/** Reads all there is of an upload. A log that looks altered is read twice: its writer may have been at work. */
export async function loadUpload(root: string, id: UploadId, evenGone = false): Promise<DiskUpload> {
  const first = await loadOnce(root, id, evenGone);
  if (first.state !== "lost") return first;
  await new Promise((resolve) => setTimeout(resolve, 10));
  return loadOnce(root, id, evenGone);
}

async function loadOnce(root: string, id: UploadId, evenGone: boolean): Promise<DiskUpload> {
  if (!evenGone && exists(gonePath(root, id))) return { state: "gone" };
  const segments: Segment[] = [];
  let highest = 0;
  for (let segment = 1; ; segment += 1) {
    const bytes = await readWhole(logPath(root, id, segment));
    if (bytes === undefined) break;
    highest = segment;
    const log = decodeLog(bytes);
    if (log.state === "unborn") continue;
    if (log.state !== "whole") return { state: "lost", why: log.state };
    const before = segments.at(-1);
    if (before !== undefined) {
      // Records that the earlier writer added after it had been superseded do not count.
      const kept = before.records.findIndex((one) => hex(one.chain) === log.header.follows);
      if (kept < 0) return { state: "lost", why: "record-corrupt" };
      before.records.length = kept + 1;
    }
    const last = log.records.at(-1);
    if (last === undefined) continue;
    const logEnd = log.headerBytes + log.records.length * 256;
    segments.push({
      segment,
      info: log.header.info,
      createdAt: log.header.createdAt,
      records: [...log.records],
      logEnd,
    });
  }
  const segment = segments.at(-1);
  const last = segment?.records.at(-1);
  if (segment === undefined || last === undefined) return { state: "absent" };

  const pieces = piecesOf(segments);
  let lastFileBytes = 0;
  for (const piece of pieces) {
    const size = await fileSize(dataPath(root, id, piece.segment));
    // Fewer bytes than a record vouches for: the promise is broken, and cannot be mended by lowering the offset.
    if (size === undefined || size < piece.end - piece.start) return { state: "lost", why: "data-short" };
    if (piece.segment === segment.segment) lastFileBytes = size;
  }
  return {
    state: "whole",
    info: segment.info,
    createdAt: segment.createdAt,
    last,
    segment: segment.segment,
    logEnd: segment.logEnd,
    highest,
    pieces,
    spans: spansOf(segments),
    lastFileBytes,
  };
}

/** Feeds bytes `start` to `end` of an upload to `sink`, a mebibyte at a time. False when the files end before that. */
export async function readPieces(
  root: string,
  id: UploadId,
  pieces: readonly Piece[],
  span: { readonly start: number; readonly end: number },
  sink: (bytes: Buffer, at: number) => void | Promise<void>,
): Promise<boolean> {
  for await (const { bytes, at, short } of pieceChunks(root, id, pieces, span)) {
    if (short) return false;
    await sink(bytes, at);
  }
  return true;
}

export async function* pieceChunks(
  root: string,
  id: UploadId,
  pieces: readonly Piece[],
  span: { readonly start: number; readonly end: number },
): AsyncGenerator<{ readonly bytes: Buffer; readonly at: number; readonly short: boolean }> {
  for (const piece of pieces) {
    const from = Math.max(piece.start, span.start);
    const to = Math.min(piece.end, span.end);
    if (from >= to) continue;
    const file = await open(dataPath(root, id, piece.segment), "r");
    try {
      for (let at = from; at < to;) {
        const buffer = Buffer.allocUnsafeSlow(Math.min(READ_BYTES, to - at));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at - piece.start);
        if (bytesRead === 0) {
          yield { bytes: buffer.subarray(0, 0), at, short: true };
          return;
        }
        yield { bytes: buffer.subarray(0, bytesRead), at, short: false };
        at += bytesRead;
      }
    } finally {
      await file.close();
    }
  }
}

/**
 * Reads everything back and compares it with the digests that were recorded. The hash of the whole, still open for
 * more, or `undefined` where the bytes are not those that were committed.
 */
export async function rehash(
  root: string,
  id: UploadId,
  upload: { readonly pieces: readonly Piece[]; readonly spans: readonly DigestSpan[] },
  each?: (bytes: Buffer, at: number) => void | Promise<void>,
): Promise<Hash | undefined> {
  const whole = createHash("sha256");
  for (const span of upload.spans) {
    const part = createHash("sha256");
    const complete = await readPieces(root, id, upload.pieces, span, async (bytes, at) => {
      part.update(bytes);
      whole.update(bytes);
      await each?.(bytes, at);
    });
    if (!complete || !part.digest().equals(span.digest)) return undefined;
  }
  return whole;
}

/**
 * Names of our own folder are in the system's cache, so this takes microseconds; asked for in the background, the answer
 * would wait in libuv's four threads behind the syncs of other uploads.
 */
export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

const READ_BYTES = 1 << 20;

interface Segment {
  readonly segment: number;
  readonly info: Json;
  readonly createdAt: number;
  readonly records: ChainedRecord[];
  readonly logEnd: number;
}

/** From the last segment back to one that begins at byte 0. */
function piecesOf(segments: readonly Segment[]): Piece[] {
  const pieces: Piece[] = [];
  let end = segments.at(-1)?.records.at(-1)?.offset ?? 0;
  for (const segment of segments.toReversed()) {
    const base = segment.records[0]?.base ?? 0;
    pieces.unshift({ segment: segment.segment, start: base, end });
    end = base;
    if (base === 0) break;
  }
  return pieces;
}

function spansOf(segments: readonly Segment[]): DigestSpan[] {
  const spans: DigestSpan[] = [];
  let before = Infinity;
  for (const record of segments.flatMap((one) => one.records).toReversed()) {
    if (
      record.offset > before ||
      (record.offset === before && spans.length > 0 && record.digestFrom === before)
    )
      continue;
    if (before !== Infinity && record.offset !== before) continue;
    spans.unshift({ start: record.digestFrom, end: record.offset, digest: record.digest });
    before = record.digestFrom;
    if (before === 0) break;
  }
  return spans;
}

async function readWhole(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function fileSize(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
