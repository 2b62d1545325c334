import type { Json } from "../../../kernel/index.ts";

/**
 * Where the bytes of uploads live. A storage promises one thing above all: once `commit` has resolved, no later
 * `recover` by any process reports a smaller offset, and the bytes below it are those that were appended.
 *
 * Absence is a value; what is thrown is a `HoldfastError` `store-unavailable` (the system below is at fault; its
 * `detail.reason` is `no-space`, `read-only` or `io`) or `session-fenced` (somebody else has claimed the upload since).
 * A storage of your own proves itself with `holdfast/testing/storage`.
 */
export interface TransferStorage {
  readonly kind: string;
  readonly capabilities: StorageCapabilities;

  /** Makes an upload of no bytes and durably so. `undefined` when `id` is taken, also by what was removed. */
  create(id: UploadId, draft: UploadDraft): Promise<UploadWriter | undefined>;
  /** What a reader finds, without changing anything. */
  recover(id: UploadId): Promise<Recovery>;
  /**
   * Takes an upload over for writing. From the moment this resolves, nothing that an earlier writer still does can
   * change what is read back. Bytes that arrived after the last commit are kept where they can be trusted.
   */
  claim(id: UploadId, fence: number): Promise<Claim>;
  /** Makes `id` the bytes of `parts`, one after the other, all of them complete, and commits it as complete. */
  concat(id: UploadId, draft: UploadDraft, parts: readonly UploadId[]): Promise<Claim>;
  /** Bytes `start` up to but not including `end` of what is committed; the chunks are the caller's to keep. */
  read(id: UploadId, span: Span): AsyncIterable<Uint8Array>;
  /**
   * First phase of a deletion: from here on `recover` says `gone`. The bytes themselves go with `sweep`, so that a
   * deletion that was a mistake of the caller's can be undone by a person until then. False when there was nothing.
   * `unlessComplete`: false as well, and nothing changes, when the upload is complete, even if it became so this moment.
   */
  remove(id: UploadId, at: number, options?: { readonly unlessComplete?: boolean }): Promise<boolean>;
  /** Second phase: frees the bytes of what was removed before `before`, and forgets what was removed before `forget`. */
  sweep(limits: { readonly before: number; readonly forget: number }): Promise<SweepCount>;
  /** Every upload that is not removed, in the order of ids. */
  list(page?: { readonly after?: UploadId; readonly limit?: number }): Promise<readonly UploadId[]>;
  /** Where the system keeps a complete upload as one file, its path. */
  path?(id: UploadId): Promise<string | undefined>;
  /** Room that is left, if the system can tell. */
  free(): Promise<number | undefined>;
  close(): Promise<void>;
}

export interface StorageCapabilities {
  /** A commit survives a power loss, not only a crash of the process. */
  readonly durable: boolean;
  /** Bytes appended since the last commit can be taken back (checksummed chunks need it). */
  readonly truncate: boolean;
  /** Smallest and most pieces an upload may consist of, where the system counts them. */
  readonly minPart?: number;
  readonly maxParts?: number;
}

/** 16 to 64 characters of `A-Z a-z 0-9 _ -`. */
export type UploadId = string & { readonly __brand: "UploadId" };

export function parseUploadId(text: string): UploadId | undefined {
  return /^[A-Za-z0-9_-]{16,64}$/.test(text) ? (text as UploadId) : undefined;
}

export interface UploadDraft {
  /** What the mechanism wants to find again; never changes. */
  readonly info: Json;
  readonly length?: number;
  /** The ownership epoch that everything written is stamped with. */
  readonly fence: number;
  readonly at: number;
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

/** What has been committed. */
export interface Checkpoint {
  readonly seq: number;
  readonly offset: number;
  readonly length?: number;
  readonly complete: boolean;
  /** SHA-256 of the bytes from `digestFrom` up to `offset`; of the whole when `digestFrom` is 0. */
  readonly digest: Uint8Array;
  readonly digestFrom: number;
  readonly fence: number;
  readonly at: number;
}

export type Recovery =
  | { readonly state: "absent" }
  | { readonly state: "gone" }
  /** Something that was committed is not there any more, or not as it was. Never to be written or read again. */
  | { readonly state: "lost"; readonly why: LossReason }
  | { readonly state: "found"; readonly info: Json; readonly checkpoint: Checkpoint };

export type LossReason = "data-short" | "record-corrupt" | "header-corrupt" | "data-corrupt";

export type Claim =
  | { readonly state: "absent" }
  | { readonly state: "gone" }
  | { readonly state: "lost"; readonly why: LossReason }
  | { readonly state: "claimed"; readonly info: Json; readonly writer: UploadWriter };

/** The one hand that may write an upload. Calls of `append` and `truncate` are made one after the other. */
export interface UploadWriter {
  /** The last commit. */
  readonly checkpoint: Checkpoint;
  /** Bytes appended, committed or not. */
  readonly written: number;
  /** Adds bytes. When it throws, `written` tells how many of them are kept. */
  append(chunks: readonly Uint8Array[]): Promise<void>;
  /**
   * Makes everything appended before the call durable. Appending may go on meanwhile.
   * `provisional`: what is appended after this must not be kept by a recovery before it is committed.
   */
  commit(change: CommitChange): Promise<Checkpoint>;
  /** Takes back what was appended since the last commit. */
  truncate(): Promise<void>;
  /** SHA-256 of everything from byte 0 to `written`, read back where need be. `undefined`: the stored bytes differ. */
  verify(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** True while nobody else has claimed the upload. */
  current(): Promise<boolean>;
  /** Lets go of what the system lends (file descriptors); the writer can be used again. */
  release(): Promise<void>;
}

export interface CommitChange {
  readonly at: number;
  readonly fence?: number;
  readonly length?: number;
  readonly complete?: boolean;
  readonly provisional?: boolean;
}

export interface SweepCount {
  readonly freed: number;
  readonly forgotten: number;
}
