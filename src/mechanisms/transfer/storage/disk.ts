import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { mkdir, open, readdir, statfs } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { HoldfastError } from "../../../kernel/index.ts";
import { bootId } from "./boot-id.ts";
import { RECORD_BYTES, encodeHeader, encodeRecord } from "./checkpoint-codec.ts";
import type { LogHeader, LogRecord } from "./checkpoint-codec.ts";
import { removeUpload, sweepRemoved } from "./disk-removal.ts";
import {
  dataPath,
  exists,
  gonePath,
  hex,
  loadUpload,
  logPath,
  pieceChunks,
  readPieces,
} from "./disk-upload.ts";
import type { WholeUpload } from "./disk-upload.ts";
import { DiskWriter } from "./disk-writer.ts";
import type { SegmentFiles } from "./disk-writer.ts";
import { errorCode, storageFault } from "./fault.ts";
import { inRoom, NEW_LOG } from "./log-file.ts";
import { parseUploadId } from "./storage.ts";
import type {
  Claim,
  Recovery,
  Span,
  StorageCapabilities,
  SweepCount,
  TransferStorage,
  UploadDraft,
  UploadId,
  UploadWriter,
} from "./storage.ts";
import { Syncer } from "./syncer.ts";

/**
 * Uploads as files of one directory, which several processes may share. A commit survives a power loss on a file
 * system that keeps its word about fdatasync (ext4, xfs, btrfs, zfs).
 * @throws HoldfastError `store-unavailable` when the directory can neither be made nor read.
 */
export async function openDiskStorage(
  directory: string,
  options: DiskStorageOptions = {},
): Promise<TransferStorage> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await readdir(directory);
  } catch (error) {
    throw storageFault(error, `use the directory ${directory}`);
  }
  return new DiskStorage(directory, options.bootId ?? bootId());
}

export interface DiskStorageOptions {
  /** 16 bytes that change when unsynced writes may have been lost; by default with every start of the machine. */
  readonly bootId?: Uint8Array;
}

class DiskStorage implements TransferStorage {
  readonly kind = "disk";
  readonly capabilities: StorageCapabilities = { durable: true, truncate: true };
  readonly #root: string;
  readonly #syncer: Syncer;
  readonly #bootId: Uint8Array;
  #closed = false;

  constructor(root: string, boot: Uint8Array) {
    this.#root = root;
    this.#bootId = boot;
    this.#syncer = new Syncer(root);
  }

  async create(id: UploadId, draft: UploadDraft): Promise<UploadWriter | undefined> {
    this.#assertOpen();
    if (exists(gonePath(this.#root, id))) return undefined;
    const record = firstRecord(draft, this.#bootId);
    const header: LogHeader = { format: 1, segment: 1, createdAt: draft.at, info: draft.info };
    const log = await this.#reserve(id, 1);
    if (log === undefined) return undefined;
    const begun = await this.#begin(id, log, header, record).catch(async (error: unknown) => {
      await log.close();
      throw error;
    });
    return new DiskWriter({
      ...begun,
      root: this.#root,
      id,
      info: draft.info,
      syncer: this.#syncer,
      segment: 1,
      record,
      hash: createHash("sha256"),
      pieces: [],
      spans: [],
    });
  }

  async recover(id: UploadId): Promise<Recovery> {
    this.#assertOpen();
    const upload = await loadUpload(this.#root, id);
    if (upload.state !== "whole") return upload;
    const { seq, offset, length, complete, digest, digestFrom, fence, at } = upload.last;
    return {
      state: "found",
      info: upload.info,
      checkpoint: {
        seq,
        offset,
        ...(length !== undefined && { length }),
        complete,
        digest,
        digestFrom,
        fence,
        at,
      },
    };
  }

  async claim(id: UploadId, fence: number): Promise<Claim> {
    this.#assertOpen();
    for (;;) {
      const upload = await loadUpload(this.#root, id);
      if (upload.state !== "whole") return upload;
      if (upload.last.complete)
        return { state: "claimed", info: upload.info, writer: this.#sealed(id, upload) };
      const log = await this.#reserve(id, upload.highest + 1);
      if (log === undefined) continue;
      const claim = await this.#takeOver(id, log, upload.highest + 1, fence).catch(async (error: unknown) => {
        await log.close();
        throw storageFault(error, "claim the upload");
      });
      if (claim !== undefined) return claim;
    }
  }

  /** From here on the earlier writer's commits fail, and those that did not are in its log for us to find. */
  async #takeOver(id: UploadId, log: FileHandle, segment: number, fence: number): Promise<Claim | undefined> {
    let upload = await loadUpload(this.#root, id);
    let tail: Tail;
    for (;;) {
      if (upload.state !== "whole" || upload.last.complete) {
        await log.close();
        return upload.state === "whole" ? undefined : upload;
      }
      tail = await this.#tail(id, upload);
      // Bytes that were written as provisional have a record that says so, and it was written before they were.
      const again = await loadUpload(this.#root, id);
      if (again.state === "whole" && hex(again.last.chain) === hex(upload.last.chain)) break;
      upload = again;
    }
    const { last } = upload;
    const record: LogRecord = {
      seq: last.seq + 1,
      offset: tail.end,
      ...(last.length !== undefined && { length: last.length }),
      complete: false,
      provisional: false,
      digestFrom: last.offset,
      base: tail.end,
      fence,
      at: last.at,
      bootId: this.#bootId,
      digest: tail.hash.copy().digest(),
    };
    const header: LogHeader = {
      format: 1,
      segment,
      follows: hex(last.chain),
      createdAt: upload.createdAt,
      info: upload.info,
    };
    const from = upload.segment;
    const pieces = upload.pieces.map((piece) =>
      piece.segment === from ? { ...piece, end: tail.end } : piece,
    );
    const writer = new DiskWriter({
      ...(await this.#begin(id, log, header, record)),
      root: this.#root,
      id,
      info: upload.info,
      syncer: this.#syncer,
      segment,
      record,
      hash: tail.hash,
      pieces: pieces.filter((piece) => piece.end > piece.start),
      spans: upload.spans,
    });
    return { state: "claimed", info: upload.info, writer };
  }

  /**
   * Bytes behind the last commit. After a crash of the process alone they are in the page cache as they were written,
   * and are kept; after a restart of the machine nobody can say what they are, and they are left behind.
   */
  async #tail(id: UploadId, upload: WholeUpload): Promise<Tail> {
    const { last } = upload;
    const hash = createHash("sha256");
    const start = last.offset;
    const end = Math.min(last.base + upload.lastFileBytes, last.length ?? Infinity);
    if (last.provisional || end <= start || hex(last.bootId) !== hex(this.#bootId))
      return { end: start, hash };
    const file = await open(dataPath(this.#root, id, upload.segment), "r");
    try {
      await this.#syncer.data(file);
    } catch (error) {
      throw storageFault(error, "make what had arrived durable");
    } finally {
      await file.close();
    }
    const whole = await readPieces(
      this.#root,
      id,
      [{ segment: upload.segment, start: last.base, end }],
      { start, end },
      (bytes) => {
        hash.update(bytes);
      },
    );
    return whole ? { end, hash } : { end: start, hash: createHash("sha256") };
  }

  /** Makes the name that claims compete for. `undefined` when another was faster. */
  async #reserve(id: UploadId, segment: number): Promise<FileHandle | undefined> {
    try {
      return await open(logPath(this.#root, id, segment), NEW_LOG, 0o600);
    } catch (error) {
      if (errorCode(error) === "EEXIST") return undefined;
      throw storageFault(error, "begin an upload");
    }
  }

  /** Fills a reserved segment; it counts once its first record is there. */
  async #begin(
    id: UploadId,
    log: FileHandle,
    header: LogHeader,
    record: LogRecord,
  ): Promise<{ logEnd: number; chain: Uint8Array; files: SegmentFiles }> {
    const head = encodeHeader(header);
    const first = encodeRecord(record, head.chain);
    const block = Buffer.concat([head.block, first.block]);
    let data: FileHandle | undefined;
    try {
      data = await open(dataPath(this.#root, id, header.segment), "w", 0o600);
      await Promise.all([this.#syncer.written(log, inRoom(block, 0), 0), this.#syncer.directory()]);
    } catch (error) {
      await data?.close();
      throw storageFault(error, "begin an upload");
    }
    return { logEnd: head.block.length + RECORD_BYTES, chain: first.chain, files: { data, log } };
  }

  #sealed(id: UploadId, upload: WholeUpload): UploadWriter {
    const { last } = upload;
    return new DiskWriter({
      root: this.#root,
      id,
      info: upload.info,
      syncer: this.#syncer,
      segment: upload.segment,
      logEnd: upload.logEnd,
      record: last,
      chain: last.chain,
      hash: createHash("sha256"),
      pieces: [],
      spans: [],
    });
  }

  async concat(id: UploadId, draft: UploadDraft, parts: readonly UploadId[]): Promise<Claim> {
    const writer = await this.create(id, draft);
    if (writer === undefined)
      throw new HoldfastError("invalid-argument", "An upload of this id exists.", { detail: { id } });
    try {
      for (const part of parts) {
        const recovery = await this.recover(part);
        if (recovery.state !== "found") return recovery;
        if (!recovery.checkpoint.complete) {
          throw new HoldfastError("invalid-argument", "Only complete uploads can be concatenated.", {
            detail: { id: part },
          });
        }
        for await (const bytes of this.read(part, { start: 0, end: recovery.checkpoint.offset }))
          await writer.append([bytes]);
      }
      await writer.commit({ at: draft.at, length: writer.written, complete: true });
      return { state: "claimed", info: draft.info, writer };
    } finally {
      await writer.release();
    }
  }

  async *read(id: UploadId, span: Span): AsyncGenerator<Uint8Array> {
    this.#assertOpen();
    const upload = await loadUpload(this.#root, id);
    if (upload.state !== "whole" || span.end > upload.last.offset || span.start > span.end) {
      throw new HoldfastError("invalid-argument", "These bytes are not committed.", {
        detail: { id, ...span },
      });
    }
    for await (const { bytes, short } of pieceChunks(this.#root, id, upload.pieces, span)) {
      if (short)
        throw new HoldfastError("store-corrupt", "The upload ended before its committed length.", {
          detail: { id },
        });
      yield bytes;
    }
  }

  async path(id: UploadId): Promise<string | undefined> {
    const upload = await loadUpload(this.#root, id);
    const [piece, more] = upload.state === "whole" && upload.last.complete ? upload.pieces : [];
    return piece === undefined || more !== undefined ? undefined : dataPath(this.#root, id, piece.segment);
  }

  async remove(
    id: UploadId,
    at: number,
    options: { readonly unlessComplete?: boolean } = {},
  ): Promise<boolean> {
    this.#assertOpen();
    return removeUpload(this.#root, this.#syncer, id, at, options.unlessComplete === true);
  }

  async sweep(limits: { readonly before: number; readonly forget: number }): Promise<SweepCount> {
    this.#assertOpen();
    return sweepRemoved(this.#root, this.#syncer, await this.#names(), limits);
  }

  async list(
    page: { readonly after?: UploadId; readonly limit?: number } = {},
  ): Promise<readonly UploadId[]> {
    this.#assertOpen();
    const gone = new Set<string>();
    const ids = new Set<UploadId>();
    for (const name of await this.#names()) {
      const id = parseUploadId(name.slice(0, name.indexOf(".")));
      if (id === undefined) continue;
      if (name.endsWith(".gone")) gone.add(id);
      else if (name.endsWith(".log")) ids.add(id);
    }
    const { after, limit } = page;
    return [...ids]
      .filter((id) => !gone.has(id) && (after === undefined || id > after))
      .sort((a, b) => (a < b ? -1 : 1))
      .slice(0, limit);
  }

  async free(): Promise<number | undefined> {
    const { bavail, bsize } = await statfs(this.#root);
    return bavail * bsize;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#syncer.close();
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#root);
    } catch (error) {
      throw storageFault(error, "list its uploads");
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new HoldfastError("store-closed", "The storage has been closed.");
  }
}

interface Tail {
  readonly end: number;
  readonly hash: Hash;
}

function firstRecord(draft: UploadDraft, boot: Uint8Array): LogRecord {
  return {
    seq: 1,
    offset: 0,
    ...(draft.length !== undefined && { length: draft.length }),
    complete: false,
    provisional: false,
    digestFrom: 0,
    base: 0,
    fence: draft.fence,
    at: draft.at,
    bootId: boot,
    digest: createHash("sha256").digest(),
  };
}
