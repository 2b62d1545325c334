import type { Kernel, SessionRecord } from "../../kernel/index.ts";
import type { Sink } from "./receive.ts";
import type { Checkpoint, UploadId, UploadWriter } from "./storage/storage.ts";
import type { UploadInfo } from "./upload-info.ts";

/** One upload as this process knows it. */
export class Upload implements Sink {
  readonly id: UploadId;
  readonly info: UploadInfo;
  readonly turns: Turns = new Turns();
  /** What has been made durable and told; never decreases. */
  checkpoint: Checkpoint;
  /** Absent once the session has ended, as it does when the file is finished. */
  record: SessionRecord | undefined;
  /** Takes the present request off the session, so that the session's end does not wait for it. */
  detach: () => void = () => {};
  /** When the storage last said that nobody else has claimed it. */
  foundCurrentAt: number = -Infinity;
  /** When content last came in. */
  lastArrivalAt: number = 0;
  readonly #kernel: Kernel;
  readonly #progress = new Set<(offset: number) => void>();
  #writer: UploadWriter | undefined;
  #length: number | undefined;

  constructor(
    kernel: Kernel,
    id: UploadId,
    info: UploadInfo,
    checkpoint: Checkpoint,
    record: SessionRecord | undefined,
  ) {
    this.#kernel = kernel;
    this.id = id;
    this.info = info;
    this.checkpoint = checkpoint;
    this.record = record;
    this.#length = checkpoint.length;
  }

  /** @throws when this process has not claimed the upload; see `Uploads.hold`. */
  get writer(): UploadWriter {
    if (this.#writer === undefined) throw new Error("the upload has no writer here");
    return this.#writer;
  }

  get claimed(): UploadWriter | undefined {
    return this.#writer;
  }

  /** How far it is, committed or not. */
  get writtenOffset(): number {
    return this.checkpoint.complete ? this.checkpoint.offset : this.writer.written;
  }

  adopt(writer: UploadWriter | undefined): void {
    this.#writer = writer;
    if (writer !== undefined && writer.checkpoint.offset >= this.checkpoint.offset)
      this.checkpoint = writer.checkpoint;
  }

  get length(): number | undefined {
    return this.#length;
  }

  /** Absent once it is finished, and where no deadline runs. */
  get expiresAt(): number | undefined {
    const { record } = this;
    if (record === undefined) return undefined;
    const until = record.state === "suspended" ? record.suspendUntil : undefined;
    const at = Math.min(record.idleAt ?? Infinity, record.absoluteAt ?? Infinity, until ?? Infinity);
    return at === Infinity ? undefined : at;
  }

  /** Once known it stays. */
  declareLength(length: number): void {
    this.#length ??= length;
  }

  /** Hears of every new durable offset. Returns how to stop. */
  onProgress(listener: (offset: number) => void): () => void {
    this.#progress.add(listener);
    return () => this.#progress.delete(listener);
  }

  /**
   * Bytes durable, record durable, session's checkpoint moved under our fence: only then is the offset told.
   * @throws HoldfastError `session-fenced`, `session-ended`, `store-unavailable`.
   */
  async commit(change: { readonly provisional?: boolean; readonly complete?: boolean } = {}): Promise<void> {
    const { record } = this;
    const checkpoint = await this.writer.commit({
      at: this.#kernel.clock.now(),
      ...(record?.owner !== undefined && { fence: record.owner.epoch }),
      ...(this.#length !== undefined && { length: this.#length }),
      ...change,
    });
    if (record !== undefined) {
      const point = {
        position: checkpoint.offset,
        ...(this.#length !== undefined && { total: this.#length }),
      };
      // The journal tells how it moved, so that the timeline can.
      this.record = await this.#kernel.checkpoint(record, point, { fence: record.owner, detail: point });
    }
    this.checkpoint = checkpoint;
    for (const listener of this.#progress) listener(checkpoint.offset);
  }
}

/** Why a request has to let go of its upload. */
export type Interruption = "superseded" | "taken-over" | "ended" | "closing";

/** One request's hold on an upload. */
export interface Turn {
  readonly signal: AbortSignal;
  release(): void;
}

/**
 * One request at a time writes an upload, and the newest wins: who comes later has the others let go, and waits for
 * that, without polling. What they had received is committed before the newcomer starts.
 */
export class Turns {
  #queue: { readonly abort: AbortController; readonly done: Promise<void> }[] = [];

  get busy(): boolean {
    return this.#queue.length > 0;
  }

  async take(): Promise<Turn> {
    const before = [...this.#queue];
    const abort = new AbortController();
    let finish: () => void = () => {};
    const mine = { abort, done: new Promise<void>((resolve) => (finish = resolve)) };
    this.#queue.push(mine);
    this.interrupt("superseded", before);
    for (const one of before) await one.done;
    return {
      signal: abort.signal,
      release: () => {
        this.#queue = this.#queue.filter((one) => one !== mine);
        finish();
      },
    };
  }

  interrupt(why: Interruption, whom: readonly { readonly abort: AbortController }[] = this.#queue): void {
    for (const one of whom) one.abort.abort(why);
  }

  /** Resolves when nobody holds the upload. */
  async idle(): Promise<void> {
    while (this.#queue.length > 0) await Promise.all(this.#queue.map((one) => one.done));
  }
}
