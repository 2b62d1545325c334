import * as fs from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../kernel/errors.ts";
import type { LogFolder } from "./files.ts";
import { ENDING, syncFolder } from "./files.ts";
import type { LogRecord } from "./format.ts";
import { encodeRecord } from "./format.ts";
import type { Segment } from "./streams.ts";

/** Where a record was written. */
export type Noted = (record: LogRecord, segment: Segment, offset: number, size: number) => void;

/** This process's end of the log: one open segment after the other, appended to and nothing else. */
export class SegmentWriter {
  readonly #folder: LogFolder;
  readonly #segmentBytes: number;
  #head: { segment: Segment; fd: number; size: number };
  #heads = 0;
  #syncing: Promise<Error | null> | undefined;
  writes = 0;
  syncs = 0;
  bytesWritten = 0;

  constructor(folder: LogFolder, segmentBytes: number) {
    this.#folder = folder;
    this.#segmentBytes = segmentBytes;
    this.#head = this.#openSegment();
  }

  get segment(): Segment {
    return this.#head.segment;
  }

  /** All of `records` in one piece. @throws HoldfastError `store-unavailable`: nothing of them was written. */
  write(records: readonly LogRecord[], noted: Noted): void {
    if (this.#head.size >= this.#segmentBytes) this.#roll();
    const { fd, segment, size } = this.#head;
    const encoded = records.map(encodeRecord);
    const bytes = encoded.length === 1 && encoded[0] !== undefined ? encoded[0] : Buffer.concat(encoded);
    try {
      for (let written = 0; written < bytes.length;)
        written += fs.writeSync(fd, bytes, written, bytes.length - written, size + written);
    } catch (error) {
      // What stands half-written would hide everything behind it.
      fs.ftruncateSync(fd, size);
      throw new HoldfastError("store-unavailable", "The log's disk takes no more; nothing was written.", {
        cause: error,
      });
    }
    this.writes++;
    this.bytesWritten += bytes.length;
    let at = size;
    records.forEach((record, index) => {
      const length = encoded[index]?.length ?? 0;
      noted(record, segment, at, length);
      at += length;
    });
    this.#head.size = segment.scanned = at;
  }

  /** Makes what was written so far last, in another thread; what went wrong, or null. One at a time. */
  async sync(): Promise<Error | null> {
    this.syncs++;
    this.#syncing = new Promise((done) => fs.fdatasync(this.#head.fd, done));
    const outcome = await this.#syncing;
    this.#syncing = undefined;
    return outcome;
  }

  syncNow(): void {
    fs.fdatasyncSync(this.#head.fd);
  }

  close(): void {
    fs.closeSync(this.#head.fd);
  }

  #roll(): void {
    // Whoever waits for the old segment's bytes to last is served by this.
    this.syncNow();
    const { fd } = this.#head;
    this.#head = this.#openSegment();
    // An fdatasync of it may be under way in another thread.
    if (this.#syncing === undefined) fs.closeSync(fd);
    else void this.#syncing.finally(() => fs.closeSync(fd));
  }

  #openSegment(): { segment: Segment; fd: number; size: number } {
    const path = join(this.#folder.own, `${String(this.#heads++).padStart(10, "0")}${ENDING}`);
    const fd = fs.openSync(path, "wx+");
    syncFolder(this.#folder.own);
    return { segment: this.#folder.segment(path), fd, size: 0 };
  }
}
