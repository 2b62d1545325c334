import type { Hash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { HoldfastError } from "../../../kernel/index.ts";
import type { Json } from "../../../kernel/index.ts";
import { RECORD_BYTES, encodeHeader, encodeRecord } from "./checkpoint-codec.ts";
import type { LogRecord } from "./checkpoint-codec.ts";
import { dataPath, exists, gonePath, hex, logPath, rehash } from "./disk-upload.ts";
import { inRoom, NEW_LOG, OLD_LOG } from "./log-file.ts";
import type { DigestSpan, Piece } from "./disk-upload.ts";
import { errorCode, storageFault } from "./fault.ts";
import type { Checkpoint, CommitChange, UploadId, UploadWriter } from "./storage.ts";
import type { Syncer } from "./syncer.ts";

/** Where a writer stands when it begins: what is committed, and the segment that is its own. */
export interface WriterStart {
  readonly root: string;
  readonly id: UploadId;
  readonly info: Json;
  readonly syncer: Syncer;
  readonly segment: number;
  readonly logEnd: number;
  readonly record: LogRecord;
  readonly chain: Uint8Array;
  /** Open hash over bytes `record.digestFrom` to `record.offset`. */
  readonly hash: Hash;
  readonly pieces: readonly Piece[];
  readonly spans: readonly DigestSpan[];
  /** The segment's files, where they are open already. */
  readonly files?: SegmentFiles;
}

export interface SegmentFiles {
  readonly data: FileHandle;
  readonly log: FileHandle;
}

/** Appends to one segment of an upload. The order of every commit: bytes durable, then the record, then it is told. */
export class DiskWriter implements UploadWriter {
  readonly #root: string;
  readonly #id: UploadId;
  readonly #info: Json;
  readonly #syncer: Syncer;
  #segment: number;
  #logEnd: number;
  #record: LogRecord;
  #chain: Uint8Array;
  #hash: Hash;
  #digestFrom: number;
  /** Hash and span as they were at the last commit: where `truncate` goes back to. */
  #committed: { readonly hash: Hash; readonly digestFrom: number };
  /** Pieces and spans before this segment. */
  #earlierPieces: readonly Piece[];
  #earlierSpans: readonly DigestSpan[];
  #written: number;
  #appending = false;
  #committing: Promise<unknown> = Promise.resolve();
  #files: Promise<SegmentFiles> | undefined;
  /** Set once the device has failed: after a failed sync nobody knows which bytes are on it. */
  #failed: HoldfastError | undefined;

  constructor(start: WriterStart) {
    this.#root = start.root;
    this.#id = start.id;
    this.#info = start.info;
    this.#syncer = start.syncer;
    this.#segment = start.segment;
    this.#logEnd = start.logEnd;
    this.#record = start.record;
    this.#chain = start.chain;
    this.#hash = start.hash;
    this.#digestFrom = start.record.digestFrom;
    this.#earlierPieces = start.pieces;
    this.#earlierSpans = start.spans;
    this.#written = start.record.offset;
    this.#committed = { hash: start.hash.copy(), digestFrom: start.record.digestFrom };
    this.#files = start.files === undefined ? undefined : Promise.resolve(start.files);
  }

  get checkpoint(): Checkpoint {
    const { seq, offset, length, complete, digest, digestFrom, fence, at } = this.#record;
    return { seq, offset, ...(length !== undefined && { length }), complete, digest, digestFrom, fence, at };
  }

  get written(): number {
    return this.#written;
  }

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    this.#assertUsable();
    if (chunks.length === 0) return;
    const { data } = await this.#open();
    const before = this.#hash.copy();
    let wanted = 0;
    this.#appending = true;
    const writing = this.#write(data, chunks, (bytes) => (wanted = bytes));
    for (const chunk of chunks) this.#hash.update(chunk);
    const fault = await writing;
    this.#appending = false;
    if (fault === undefined) return;
    // Keep what went in before the device was full: as much as arrived is stored.
    this.#hash = before;
    let left = wanted;
    for (const chunk of chunks) {
      if (left === 0) break;
      const part = chunk.subarray(0, left);
      this.#hash.update(part);
      left -= part.length;
    }
    throw fault;
  }

  /** Writes all chunks at the end of the segment. Reports what went in, and resolves with the fault, if any. */
  async #write(
    data: FileHandle,
    chunks: readonly Uint8Array[],
    done: (bytes: number) => void,
  ): Promise<HoldfastError | undefined> {
    let total = 0;
    let rest: readonly Uint8Array[] = chunks;
    try {
      while (rest.length > 0) {
        const { bytesWritten } = await data.writev(rest, this.#written - this.#record.base);
        this.#written += bytesWritten;
        total += bytesWritten;
        done(total);
        rest = behind(rest, bytesWritten);
      }
      return undefined;
    } catch (error) {
      done(total);
      return storageFault(error, "take these bytes");
    }
  }

  commit(change: CommitChange): Promise<Checkpoint> {
    if (this.#appending) {
      throw new HoldfastError(
        "invalid-argument",
        "Wait for append before you commit; append may follow at once.",
      );
    }
    // What is appended from here on belongs to the next commit.
    const snapshot = { offset: this.#written, hash: this.#hash.copy(), digestFrom: this.#digestFrom };
    const result = this.#committing.then(() => this.#commit(snapshot, change));
    this.#committing = result.catch(() => undefined);
    return result;
  }

  async #commit(
    snapshot: { readonly offset: number; readonly hash: Hash; readonly digestFrom: number },
    change: CommitChange,
  ): Promise<Checkpoint> {
    this.#assertUsable();
    const length = change.length ?? this.#record.length;
    const record: LogRecord = {
      offset: snapshot.offset,
      digest: snapshot.hash.copy().digest(),
      digestFrom: snapshot.digestFrom,
      seq: this.#record.seq + 1,
      ...(length !== undefined && { length }),
      complete: change.complete === true,
      provisional: change.provisional === true,
      base: this.#record.base,
      fence: change.fence ?? this.#record.fence,
      at: change.at,
      bootId: this.#record.bootId,
    };
    try {
      const { data, log } = await this.#open();
      if (record.offset > this.#record.offset) await this.#syncer.data(data);
      if (record.complete && this.#earlierPieces.length > 0) await this.#gather(record);
      else await this.#writeRecord(log, record, snapshot);
      // A claim first makes the next segment's name and then reads this log. So: no such name yet, and the record just
      // written is one that the claim will find.
      if (!(await this.current())) throw fenced(this.#id);
    } catch (error) {
      const fault = storageFault(error, "make these bytes durable");
      this.#failed = fault;
      if (fault.code === "store-unavailable") await this.#disown();
      throw fault;
    }
    return this.checkpoint;
  }

  /** After a failed sync the page cache may hold bytes that the disk does not: nobody is to adopt them. */
  async #disown(): Promise<void> {
    try {
      const { log } = await this.#open();
      const { block } = encodeRecord(
        { ...this.#record, seq: this.#record.seq + 1, provisional: true },
        this.#chain,
      );
      const room = inRoom(block, this.#logEnd);
      await log.write(room, 0, room.length, this.#logEnd);
    } catch {
      // The device takes nothing any more, and so gives nothing to adopt.
    }
  }

  async #writeRecord(
    log: FileHandle,
    record: LogRecord,
    snapshot: { readonly hash: Hash; readonly digestFrom: number },
  ): Promise<void> {
    const { block, chain } = encodeRecord(record, this.#chain);
    await this.#syncer.written(log, inRoom(block, this.#logEnd), this.#logEnd);
    this.#logEnd += RECORD_BYTES;
    this.#chain = chain;
    this.#record = record;
    this.#committed = snapshot;
  }

  /**
   * An upload that several writers have had a hand in lies in several files. Its completion copies them into one, in a
   * segment of its own that begins at byte 0; the chain goes on, and the old files are freed.
   */
  async #gather(record: LogRecord): Promise<void> {
    const segment = this.#segment + 1;
    const pieces = [
      ...this.#earlierPieces,
      { segment: this.#segment, start: this.#record.base, end: record.offset },
    ];
    const spans = this.#spans({ start: record.digestFrom, end: record.offset, digest: record.digest });
    const log = await open(logPath(this.#root, this.#id, segment), NEW_LOG, 0o600).catch((error: unknown) =>
      Promise.reject(
        errorCode(error) === "EEXIST" ? fenced(this.#id) : storageFault(error, "gather the upload"),
      ),
    );
    const data = await open(dataPath(this.#root, this.#id, segment), "w", 0o600);
    try {
      const whole = await rehash(this.#root, this.#id, { pieces, spans }, async (bytes, at) => {
        await data.write(bytes, 0, bytes.length, at);
      });
      if (whole === undefined)
        throw new HoldfastError("store-corrupt", "The bytes of the upload differ from what was committed.");
      await this.#syncer.data(data);
      const header = encodeHeader({
        format: 1,
        segment,
        follows: hex(this.#chain),
        createdAt: record.at,
        info: this.#info,
      });
      const gathered = { ...record, base: 0, digestFrom: 0, digest: whole.copy().digest() };
      const first = encodeRecord(gathered, header.chain);
      await this.#syncer.written(log, Buffer.concat([header.block, first.block]), 0);
      await this.#syncer.directory();
      await this.release();
      for (const piece of pieces) await rm(dataPath(this.#root, this.#id, piece.segment), { force: true });
      this.#segment = segment;
      this.#logEnd = header.block.length + RECORD_BYTES;
      this.#chain = first.chain;
      this.#record = gathered;
      this.#hash = whole;
      this.#digestFrom = 0;
      this.#committed = { hash: whole.copy(), digestFrom: 0 };
      this.#earlierPieces = [];
      this.#earlierSpans = [];
    } finally {
      await data.close();
      await log.close();
    }
  }

  async truncate(): Promise<void> {
    this.#assertUsable();
    await this.#committing;
    const { data } = await this.#open();
    try {
      await data.truncate(this.#record.offset - this.#record.base);
    } catch (error) {
      throw (this.#failed = storageFault(error, "take these bytes back"));
    }
    this.#written = this.#record.offset;
    this.#hash = this.#committed.hash.copy();
    this.#digestFrom = this.#committed.digestFrom;
  }

  async verify(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    this.#assertUsable();
    await this.#committing;
    if (this.#digestFrom > 0) {
      const offset = this.#written;
      const pieces = [
        ...this.#earlierPieces,
        { segment: this.#segment, start: this.#record.base, end: offset },
      ];
      const spans = this.#spans({ start: this.#digestFrom, end: offset, digest: this.#hash.copy().digest() });
      const whole = await rehash(this.#root, this.#id, { pieces, spans }, () => signal?.throwIfAborted());
      if (whole === undefined) return undefined;
      this.#hash = whole;
      this.#digestFrom = 0;
    }
    return this.#hash.copy().digest();
  }

  /** Everything with a known digest, up to and with `last`. */
  #spans(last: DigestSpan): readonly DigestSpan[] {
    if (last.start === 0) return [last];
    return [...this.#earlierSpans, last].filter((span) => span.end > span.start);
  }

  current(): Promise<boolean> {
    return Promise.resolve(
      !exists(logPath(this.#root, this.#id, this.#segment + 1)) && !exists(gonePath(this.#root, this.#id)),
    );
  }

  async release(): Promise<void> {
    const files = this.#files;
    this.#files = undefined;
    if (files === undefined) return;
    const opened = await files.catch(() => undefined);
    await Promise.all([opened?.data.close(), opened?.log.close()]);
  }

  #open(): Promise<SegmentFiles> {
    this.#files ??= openBoth(
      dataPath(this.#root, this.#id, this.#segment),
      logPath(this.#root, this.#id, this.#segment),
    );
    return this.#files;
  }

  #assertUsable(): void {
    if (this.#failed !== undefined) throw this.#failed;
    if (this.#record.complete) {
      throw new HoldfastError(
        "invalid-argument",
        "The upload is complete; nothing can be added to it or taken away.",
        {
          detail: { id: this.#id },
        },
      );
    }
  }
}

async function openBoth(dataName: string, logName: string): Promise<SegmentFiles> {
  const data = await open(dataName, "r+").catch((error: unknown) =>
    Promise.reject(storageFault(error, "open the upload")),
  );
  try {
    return { data, log: await open(logName, OLD_LOG) };
  } catch (error) {
    await data.close();
    throw storageFault(error, "open the upload");
  }
}

function fenced(id: UploadId): HoldfastError {
  return new HoldfastError(
    "session-fenced",
    "Another writer has claimed the upload, or it has been removed.",
    { detail: { id } },
  );
}

function behind(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  for (let index = 0; index < chunks.length; index += 1) {
    const chunk = chunks[index];
    if (chunk === undefined) break;
    if (left < chunk.length) return [chunk.subarray(left), ...chunks.slice(index + 1)];
    left -= chunk.length;
  }
  return [];
}
