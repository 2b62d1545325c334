import * as fs from "node:fs";
import { HoldfastError } from "../../kernel/errors.ts";
import type {
  AppendOutcome,
  LogAck,
  LogBatch,
  LogEntry,
  ReadLimits,
  SessionLog,
  StreamState,
} from "../../kernel/log.ts";
import type { Handle } from "../../kernel/secret.ts";
import { storeClosed } from "../preconditions.ts";
import { isMissing, LogFolder, scan } from "./files.ts";
import type { LogRecord } from "./format.ts";
import { decodeRecord } from "./format.ts";
import type { Segment, Stream } from "./streams.ts";
import { Streams } from "./streams.ts";
import type { Noted } from "./writer.ts";
import { SegmentWriter } from "./writer.ts";

export interface EmbeddedLogOptions {
  /** Folder on a local disk, shared by the processes of one machine. Made when it is not there. */
  readonly path: string;
  /** A segment is closed at this size; 16 MiB unless given. */
  readonly segmentBytes?: number;
  /** A closed segment is written anew when less of it than this is needed; 0.25 unless given. */
  readonly compactBelow?: number;
  /** How often segments are looked over; 5,000 ms unless given. */
  readonly compactMs?: number;
  /** Hears of faults of the compaction, which is tried again; nothing is lost by not listening. */
  readonly onFault?: (error: unknown) => void;
}

/**
 * Streams in files of this machine: each process appends to segments of its own, with checksums, all sessions together.
 * Everything that is waiting is written by one call and, where asked, made durable by one fdatasync. What a dead process
 * left is read up to its first torn record.
 */
export function embeddedLog(options: EmbeddedLogOptions): SessionLog {
  return new EmbeddedLog(options);
}

interface Waiting {
  readonly record: LogRecord;
  readonly ack: LogAck;
  readonly resolve: (outcome: AppendOutcome) => void;
  readonly reject: (error: unknown) => void;
}

class EmbeddedLog implements SessionLog {
  readonly kind = "embedded";
  readonly reach = "machine";
  readonly #folder: LogFolder;
  readonly #streams = new Streams();
  readonly #segmentBytes: number;
  readonly #compactBelow: number;
  readonly #timer: NodeJS.Timeout;
  /** Where streams end once everything that waits is written. */
  readonly #planned = new Map<Handle, number>();
  /** Epochs that other processes have raised. */
  readonly #fences = new Map<Handle, number>();
  #waiting: Waiting[] = [];
  #scheduled = false;
  readonly #writer: SegmentWriter;
  #stamp = 0;
  #syncing: Promise<void> | undefined;
  #unsynced: Waiting[] = [];
  #closed = false;
  readonly #counts = { appends: 0, compactions: 0 };

  constructor(options: EmbeddedLogOptions) {
    this.#segmentBytes = options.segmentBytes ?? 16 * 1024 * 1024;
    this.#compactBelow = options.compactBelow ?? 0.25;
    this.#folder = new LogFolder(options.path);
    this.#writer = new SegmentWriter(this.#folder, this.#segmentBytes);
    this.#folder.newFences();
    this.#refresh();
    const onFault = options.onFault ?? (() => undefined);
    this.#timer = setInterval(() => {
      try {
        this.#compact();
      } catch (error) {
        onFault(error);
      }
    }, options.compactMs ?? 5000);
    this.#timer.unref();
  }

  async open(handle: Handle, epoch: number): Promise<StreamState | "fenced"> {
    this.#assertOpen();
    this.#flush();
    // The first owner of a fresh handle has nobody to take it from.
    if (epoch > 1) {
      // Whoever writes after this line was written sees it before it answers; what was written before is read now.
      this.#folder.raiseFence(handle, epoch);
      this.#refresh();
    }
    if ((this.#fences.get(handle) ?? 0) > epoch) return "fenced";
    const found = this.#streams.get(handle);
    if (found !== undefined && found.epoch > epoch) return "fenced";
    if (found === undefined || found.epoch < epoch || found.dropped) {
      const isNew = found === undefined || found.dropped;
      const first = isNew ? 0 : found.first;
      const from = isNew ? 0 : end(found);
      const mark = isNew ? undefined : found.mark;
      this.#write([{ kind: "state", handle, epoch, stamp: ++this.#stamp, first, from, mark, entries: [] }]);
    }
    this.#fences.delete(handle);
    const stream = this.#streams.get(handle);
    if (stream === undefined)
      throw new HoldfastError("store-corrupt", "A stream that was just written is not there.");
    this.#planned.set(handle, end(stream));
    const { mark } = stream;
    return {
      first: Math.min(stream.first, end(stream)),
      next: end(stream),
      ...(mark !== undefined && { mark }),
    };
  }

  append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    if (this.#closed) return Promise.reject(storeClosed("embedded log"));
    const stream = this.#streams.get(handle);
    if (stream === undefined || stream.dropped) return Promise.resolve("misplaced");
    if (stream.epoch > epoch || (this.#fences.get(handle) ?? 0) > epoch) return Promise.resolve("fenced");
    const next = this.#planned.get(handle) ?? end(stream);
    if (batch.from !== next || stream.epoch !== epoch) return Promise.resolve("misplaced");
    this.#planned.set(handle, next + batch.entries.length);
    const { entries, mark, from } = batch;
    const first = Math.max(stream.first, Math.min(batch.trim ?? 0, next + entries.length));
    const record: LogRecord = {
      kind: "batch",
      handle,
      epoch,
      stamp: ++this.#stamp,
      first,
      from,
      mark,
      entries,
    };
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, ack, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  async read(handle: Handle, from: number, limits: ReadLimits): Promise<readonly LogEntry[]> {
    this.#assertOpen();
    for (let tries = 1; ; tries++) {
      const found = this.#streams.get(handle);
      try {
        const entries = found === undefined ? [] : readEntries(found, from, limits);
        if (entries.length > 0 || tries > 1) return entries;
        // What another process has added is only seen by looking.
        this.#refresh();
      } catch (error) {
        if (!isMissing(error) || tries > 3) throw error;
        // Another process has written anew what this segment held.
        this.#refresh();
      }
    }
  }

  async drop(handle: Handle, epoch: number): Promise<boolean> {
    this.#assertOpen();
    this.#flush();
    const stream = this.#streams.get(handle);
    if ((this.#fences.get(handle) ?? 0) > epoch || (stream !== undefined && stream.epoch > epoch))
      return false;
    if (stream === undefined || stream.dropped) return true;
    const from = stream.base;
    this.#write([
      { kind: "drop", handle, epoch, stamp: ++this.#stamp, first: 0, from, mark: undefined, entries: [] },
    ]);
    this.#planned.delete(handle);
    this.#noteFences();
    return !this.#fences.delete(handle);
  }

  async handles(after: Handle | undefined, limit: number): Promise<readonly Handle[]> {
    this.#assertOpen();
    this.#refresh();
    const all = this.#streams.handles().filter((handle) => after === undefined || handle > after);
    return all.sort().slice(0, limit);
  }

  stats(): Readonly<Record<string, number>> {
    const { writes, syncs, bytesWritten } = this.#writer;
    const segments = this.#folder.segments();
    const live = segments.reduce((sum, segment) => sum + segment.live, 0);
    const streams = this.#streams.size;
    return { ...this.#counts, writes, syncs, bytesWritten, streams, segments: segments.length, live };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    await this.#syncing;
    this.#closed = true;
    clearInterval(this.#timer);
    this.#writer.close();
    this.#folder.close();
  }

  // ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes all that waits in one piece, and answers those whose stream was not taken over meanwhile. */
  #flush(): void {
    this.#scheduled = false;
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    try {
      this.#write(waiting.map((one) => one.record));
      this.#noteFences();
    } catch (error) {
      for (const one of waiting) {
        const stream = this.#streams.get(one.record.handle);
        if (stream !== undefined) this.#planned.set(one.record.handle, end(stream));
        one.reject(error);
      }
      return;
    }
    this.#counts.appends += waiting.length;
    for (const one of waiting) {
      if ((this.#fences.get(one.record.handle) ?? 0) > one.record.epoch) one.resolve("fenced");
      else if (one.ack === "durable") this.#unsynced.push(one);
      else one.resolve("appended");
    }
    if (this.#unsynced.length > 0) this.#syncing ??= this.#sync();
  }

  #write(records: readonly LogRecord[]): void {
    this.#writer.write(records, this.#note);
  }

  readonly #note: Noted = (record, segment, offset, size) =>
    void this.#streams.note(record, segment, offset, size);

  /** One fdatasync for all that came before it; those that come while it runs make the next. */
  async #sync(): Promise<void> {
    while (this.#unsynced.length > 0) {
      const group = this.#unsynced;
      this.#unsynced = [];
      const failed = await this.#writer.sync();
      for (const one of group) {
        if (failed === null) one.resolve("appended");
        else
          one.reject(
            new HoldfastError("store-unavailable", "The log's disk did not sync.", { cause: failed }),
          );
      }
    }
    this.#syncing = undefined;
  }

  // ── other processes ─────────────────────────────────────────────────────────────────────────────────────────

  #refresh(): void {
    this.#noteFences();
    // When a segment has gone, what was needed of it was written elsewhere before: look again there.
    for (let complete = false; !complete;) {
      complete = true;
      for (const segment of this.#folder.segments()) {
        if (this.#folder.isOwn(segment)) continue;
        if (!scan(segment, (record, offset, size) => this.#note(record, segment, offset, size)))
          complete = false;
      }
    }
  }

  #noteFences(): void {
    for (const { handle, epoch } of this.#folder.newFences()) {
      const stream = this.#streams.get(handle);
      if (stream !== undefined && stream.epoch < epoch) this.#fences.set(handle, epoch);
    }
  }

  // ── compaction ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Writes anew what is still needed of segments that are mostly not, own closed ones and those of dead processes. */
  #compact(): void {
    this.#flush();
    this.#refresh();
    let turns = COMPACTED_AT_ONCE;
    for (const segment of this.#folder.segments()) {
      const isOwn = this.#folder.isOwn(segment);
      if (segment === this.#writer.segment || (!isOwn && this.#folder.isOpen(segment))) continue;
      if (segment.live > this.#segmentBytes * this.#compactBelow) continue;
      if (turns-- === 0) break;
      this.#rewrite(segment);
      this.#writer.syncNow();
      this.#folder.remove(segment);
      this.#counts.compactions++;
    }
    this.#folder.sweepWriters();
  }

  #rewrite(segment: Segment): void {
    for (const stream of this.#streams.all()) {
      const records: LogRecord[] = [];
      const { handle, epoch, first, base, mark } = stream;
      if (stream.dropped) {
        if (stream.at !== segment) continue;
        // Once no older record can be left, there is nothing to be told any more.
        if (this.#folder.segments().length <= 2) this.#streams.forget(handle);
        else
          records.push({
            kind: "drop",
            handle,
            epoch,
            stamp: stream.markStamp,
            first,
            from: base,
            mark: undefined,
            entries: [],
          });
      } else {
        if (stream.at === segment || stream.stateAt === segment)
          records.push({
            kind: "state",
            handle,
            epoch,
            stamp: stream.markStamp,
            first,
            from: base,
            mark,
            entries: [],
          });
        for (const range of stream.ranges) {
          if (range.segment !== segment) continue;
          const { entries } = readRecord(segment, range.offset, range.size);
          records.push({
            kind: "copy",
            handle,
            epoch: range.epoch,
            stamp: 0,
            first,
            from: range.from,
            mark: undefined,
            entries,
          });
        }
      }
      if (records.length > 0) this.#write(records);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw storeClosed("embedded log");
  }
}

const COMPACTED_AT_ONCE = 4;

/** Where the entries end that follow each other without a hole: behind one, nothing can be told from rubbish. */
function end(stream: Stream): number {
  let next = stream.first;
  for (const range of stream.ranges) {
    if (range.from > next) return next;
    next = Math.max(next, range.from + range.count);
  }
  return stream.ranges.length === 0 ? Math.max(next, stream.next) : next;
}

function readEntries(stream: Stream, from: number, limits: ReadLimits): LogEntry[] {
  const found: LogEntry[] = [];
  let wanted = Math.max(from, stream.first);
  let size = 0;
  for (const range of stream.ranges) {
    if (range.from + range.count <= wanted) continue;
    if (range.from > wanted) break;
    const record = readRecord(range.segment, range.offset, range.size);
    for (const bytes of record.entries.slice(wanted - range.from)) {
      size += bytes.length;
      if (found.length >= limits.entries || (size > limits.bytes && found.length > 0)) return found;
      found.push({ number: wanted++, bytes });
    }
  }
  return found;
}

function readRecord(segment: Segment, offset: number, size: number): LogRecord {
  const fd = fs.openSync(segment.path, "r");
  try {
    const bytes = Buffer.allocUnsafe(size);
    fs.readSync(fd, bytes, 0, size, offset);
    const decoded = decodeRecord(bytes, 0);
    if (decoded === undefined)
      throw new HoldfastError("store-corrupt", `${segment.path} is damaged at ${offset}.`);
    return decoded.record;
  } finally {
    fs.closeSync(fd);
  }
}
