import type { Handle } from "../../kernel/secret.ts";
import type { LogRecord } from "./format.ts";

/** A file of records, written by one process from front to back. */
export interface Segment {
  readonly path: string;
  /** Whole records up to here are in the index. */
  scanned: number;
  /** Bytes of records whose entries are still needed. */
  live: number;
}

/** Entries that are together in one record. */
export interface Range {
  readonly from: number;
  readonly count: number;
  readonly epoch: number;
  segment: Segment;
  offset: number;
  readonly size: number;
}

/** All that is known of one stream, whoever wrote it. */
export interface Stream {
  readonly handle: Handle;
  epoch: number;
  /** Where the present epoch began. */
  base: number;
  first: number;
  next: number;
  mark: Uint8Array | undefined;
  /** Which mark it is: later ones have a higher epoch, or the same and a higher stamp. */
  markEpoch: number;
  markStamp: number;
  ranges: Range[];
  /** Where its last record and its last state are: these segments cannot go before the state was written anew. */
  at: Segment;
  stateAt: Segment;
  dropped: boolean;
}

/** The index of everything on disk, fed record by record in any order of writers. */
export class Streams {
  readonly #streams = new Map<Handle, Stream>();
  #live = 0;

  /** Streams that were not dropped. */
  get size(): number {
    return this.#live;
  }

  get(handle: Handle): Stream | undefined {
    return this.#streams.get(handle);
  }

  all(): IterableIterator<Stream> {
    return this.#streams.values();
  }

  handles(): Handle[] {
    return [...this.#streams.values()].filter((stream) => !stream.dropped).map((stream) => stream.handle);
  }

  forget(handle: Handle): void {
    this.#streams.delete(handle);
  }

  note(record: LogRecord, segment: Segment, offset: number, size: number): Stream {
    const stream = this.#streams.get(record.handle) ?? this.#begin(record, segment);
    // What a process wrote that had lost the stream already does not count, but for copies of what did.
    if (record.kind !== "copy" && record.epoch < stream.epoch && record.from >= stream.base) return stream;
    switch (record.kind) {
      case "drop":
        if (record.epoch < stream.epoch) return stream;
        this.#drop(stream, record.epoch, segment);
        return stream;
      case "state":
        if (record.epoch < stream.epoch || (stream.dropped && record.epoch === stream.epoch)) return stream;
        if (record.epoch > stream.epoch || record.from < stream.base) this.#succeed(stream, record);
        stream.at = stream.stateAt = segment;
        break;
      case "batch":
      case "copy":
        if (record.epoch > stream.epoch) this.#succeed(stream, record);
        if (stream.dropped) break;
        this.#place(stream, record, segment, offset, size);
        if (record.kind === "batch") stream.at = segment;
    }
    if (stream.dropped) return stream;
    if (record.mark !== undefined && laterMark(record, stream)) {
      stream.mark = Buffer.from(record.mark);
      stream.markEpoch = record.epoch;
      stream.markStamp = record.stamp;
    }
    this.trim(stream, record.first);
    return stream;
  }

  trim(stream: Stream, below: number): void {
    if (below <= stream.first) return;
    stream.first = below;
    stream.next = Math.max(stream.next, below);
    let passed = 0;
    for (const range of stream.ranges) {
      if (range.from + range.count > below) break;
      range.segment.live -= range.size;
      passed++;
    }
    stream.ranges.splice(0, passed);
  }

  #begin(record: LogRecord, segment: Segment): Stream {
    const stream: Stream = {
      handle: record.handle,
      epoch: record.epoch,
      base: record.from,
      first: record.first,
      next: record.from,
      mark: undefined,
      markEpoch: -1,
      markStamp: -1,
      ranges: [],
      at: segment,
      stateAt: segment,
      dropped: false,
    };
    this.#streams.set(record.handle, stream);
    this.#live++;
    return stream;
  }

  /** An epoch begins at `from`: what a lower one has there is void. */
  #succeed(stream: Stream, record: LogRecord): void {
    if (stream.dropped) this.#live++;
    stream.dropped = false;
    stream.epoch = record.epoch;
    stream.base = record.from;
    const { ranges } = stream;
    const isVoid = (range: Range): boolean => range.epoch < record.epoch && range.from >= record.from;
    for (const range of ranges) if (isVoid(range)) range.segment.live -= range.size;
    stream.ranges = ranges.filter((range) => !isVoid(range));
    const last = stream.ranges.at(-1);
    stream.next = Math.max(record.from, last === undefined ? 0 : last.from + last.count);
  }

  #drop(stream: Stream, epoch: number, segment: Segment): void {
    if (!stream.dropped) this.#live--;
    for (const range of stream.ranges) range.segment.live -= range.size;
    Object.assign(stream, { epoch, ranges: [], mark: undefined, markEpoch: -1, dropped: true, at: segment });
  }

  /** Entries arrive in order, but copies, and the files of several writers, may come in any. */
  #place(stream: Stream, record: LogRecord, segment: Segment, offset: number, size: number): void {
    const count = record.entries.length;
    if (count === 0 || record.from + count <= stream.first) return;
    const range: Range = { from: record.from, count, epoch: record.epoch, segment, offset, size };
    const { ranges } = stream;
    let at = ranges.length;
    while (at > 0 && (ranges[at - 1]?.from ?? 0) >= range.from) at--;
    const same = ranges[at];
    segment.live += size;
    if (same?.from === range.from) {
      same.segment.live -= same.size;
      ranges[at] = range;
    } else ranges.splice(at, 0, range);
    stream.next = Math.max(stream.next, range.from + count);
  }
}

function laterMark(record: LogRecord, stream: Stream): boolean {
  if (record.epoch !== stream.markEpoch) return record.epoch > stream.markEpoch;
  return record.stamp > stream.markStamp;
}
