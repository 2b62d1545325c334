import * as fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { randomBytes } from "node:crypto";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle } from "../../kernel/secret.ts";
import type { LogRecord } from "./format.ts";
import { decodeRecord, recordSize } from "./format.ts";
import type { Segment } from "./streams.ts";

/**
 * The folder of a log: a folder of segments for each process that writes, named by its pid, and the file `fences` that
 * all of them append to and watch.
 */
export class LogFolder {
  readonly path: string;
  /** This process's own folder. */
  readonly own: string;
  readonly #segments = new Map<string, Segment>();
  readonly #fences: number;
  #fencesRead = 0;

  constructor(path: string) {
    this.path = path;
    this.own = join(path, `${process.pid}-${randomBytes(6).toString("hex")}`);
    fs.mkdirSync(this.own, { recursive: true });
    openHere.add(this.own);
    this.#fences = fs.openSync(join(path, "fences"), "a+");
  }

  /** Every segment there is, in the order in which each process wrote its own. */
  segments(): Segment[] {
    const found: Segment[] = [];
    for (const writer of fs.readdirSync(this.path).sort()) {
      if (!WRITER.test(writer)) continue;
      for (const name of namesIn(join(this.path, writer))) {
        const path = join(this.path, writer, name);
        if (path.endsWith(ENDING)) found.push(this.segment(path));
      }
    }
    return found;
  }

  segment(path: string): Segment {
    const known = this.#segments.get(path);
    if (known !== undefined) return known;
    const segment: Segment = { path, scanned: 0, live: 0 };
    this.#segments.set(path, segment);
    return segment;
  }

  remove(segment: Segment): void {
    fs.rmSync(segment.path, { force: true });
    this.#segments.delete(segment.path);
  }

  /** Folders of processes that have ended, without segments: swept away. */
  sweepWriters(): void {
    for (const writer of fs.readdirSync(this.path)) {
      const folder = join(this.path, writer);
      if (WRITER.test(writer) && !isAlive(folder) && namesIn(folder).length === 0)
        fs.rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Whether the process that wrote it can still be writing. */
  isOpen(segment: Segment): boolean {
    return isAlive(dirname(segment.path));
  }

  isOwn(segment: Segment): boolean {
    return segment.path.startsWith(`${this.own}/`);
  }

  /** Tells all processes that the stream has a new owner. What they write from now on does not count. */
  raiseFence(handle: Handle, epoch: number): void {
    const line = Buffer.alloc(FENCE_BYTES);
    line.write(handle, 0, 20, "latin1");
    line.writeDoubleLE(epoch, 20);
    fs.writeSync(this.#fences, line);
  }

  /** Fences raised since the last call. Costs one fstat when there are none. */
  newFences(): { handle: Handle; epoch: number }[] {
    const { size } = fs.fstatSync(this.#fences);
    const fences: { handle: Handle; epoch: number }[] = [];
    const whole = size - (size % FENCE_BYTES);
    if (whole <= this.#fencesRead) return fences;
    const bytes = Buffer.alloc(whole - this.#fencesRead);
    fs.readSync(this.#fences, bytes, 0, bytes.length, this.#fencesRead);
    this.#fencesRead = whole;
    for (let at = 0; at < bytes.length; at += FENCE_BYTES) {
      const handle = parseHandle(bytes.toString("latin1", at, at + 20));
      if (handle !== undefined) fences.push({ handle, epoch: bytes.readDoubleLE(at + 20) });
    }
    return fences;
  }

  close(): void {
    openHere.delete(this.own);
    fs.closeSync(this.#fences);
  }
}

/** Reads on where `segment` was left, up to the first record that is not whole. False when the file is gone. */
export function scan(
  segment: Segment,
  note: (record: LogRecord, offset: number, size: number) => void,
): boolean {
  let fd: number;
  try {
    fd = fs.openSync(segment.path, "r");
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
  try {
    const { size } = fs.fstatSync(fd);
    let room = SCAN_BYTES;
    while (segment.scanned < size) {
      const bytes = Buffer.allocUnsafe(Math.min(room, size - segment.scanned));
      const got = fs.readSync(fd, bytes, 0, bytes.length, segment.scanned);
      const chunk = bytes.subarray(0, got);
      let at = 0;
      for (;;) {
        const decoded = decodeRecord(chunk, at);
        if (decoded === undefined) break;
        note(decoded.record, segment.scanned + at, decoded.size);
        at += decoded.size;
      }
      segment.scanned += at;
      if (at > 0) continue;
      const needed = recordSize(chunk, 0);
      // Torn, or not there yet; a record larger than the window gets a larger one.
      if (needed === undefined || needed <= chunk.length || segment.scanned + needed > size) return true;
      room = needed;
    }
    return true;
  } finally {
    fs.closeSync(fd);
  }
}

/** Makes a new file last: its name is in the folder's own blocks. */
export function syncFolder(path: string): void {
  const fd = fs.openSync(path, "r");
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

export function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

export const ENDING = ".seg";
const WRITER = /^\d+-[0-9a-f]{12}$/;
const FENCE_BYTES = 28;
const SCAN_BYTES = 1 << 20;

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Whether the process that a folder is named by still has it open; a pid that came again is held for alive. */
function isAlive(folder: string): boolean {
  const pid = Number(basename(folder).split("-")[0]);
  if (pid === process.pid) return openHere.has(folder);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Not allowed to signal it: then it is there.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

const openHere = new Set<string>();
