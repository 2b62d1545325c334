import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import type { BigIntStats } from "node:fs";
import { basename } from "node:path";
import { HoldfastError } from "../../kernel/index.ts";
import { planDownload } from "./protocol/download-plan.ts";
import type { DownloadPlan, Representation } from "./protocol/download-plan.ts";
import type { RequestHead } from "./protocol/messages.ts";
import { safeMediaType } from "./upload-info.ts";

/** Where the bytes of a download come from. */
export interface DownloadSource {
  /** Reads into `buffer` from `position`; fewer bytes than asked for only at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** False once what is being read is not any more what was promised. */
  unchanged(): Promise<boolean>;
  close(): Promise<void>;
}

/** A file to be downloaded, by its path. */
export interface DownloadFile {
  readonly path: string;
  readonly type?: string;
  /** What it is to be saved as; by default the path's last segment. */
  readonly name?: string;
  /** SHA-256 of it, if known: it becomes the tag and the Repr-Digest. */
  readonly sha256?: Uint8Array;
  readonly cacheControl?: string;
}

export interface OpenDownload {
  readonly plan: DownloadPlan;
  readonly source: DownloadSource;
}

/**
 * Opens a file and plans the response. The tag is strong: it changes with the inode, the size, and both times to the
 * nanosecond, so that two states of a file are never taken for one.
 * @returns `undefined` when there is no such file.
 */
export async function openDownload(
  file: DownloadFile,
  head: RequestHead,
  now: number,
): Promise<OpenDownload | undefined> {
  const source = await openFile(file.path);
  if (source === undefined) return undefined;
  const { first } = source;
  const what: Representation = {
    bytes: Number(first.size),
    type: safeMediaType(file.type) ?? "application/octet-stream",
    name: file.name ?? basename(file.path),
    etag: file.sha256 === undefined ? tagOf(first) : `"${Buffer.from(file.sha256).toString("base64url")}"`,
    lastModified: Number(first.mtimeMs),
    ...(file.sha256 !== undefined && { digest: file.sha256 }),
    ...(file.cacheControl !== undefined && { cacheControl: file.cacheControl }),
  };
  return { plan: planDownload(head, what, now, `holdfast-${tagOf(first).slice(1, 17)}`), source };
}

/** @returns `undefined` when there is no such file. */
export async function openFile(
  path: string,
): Promise<(DownloadSource & { readonly first: BigIntStats }) | undefined> {
  const handle = await open(path, "r").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  const first = await handle.stat({ bigint: true });
  if (!first.isFile()) {
    await handle.close();
    return undefined;
  }
  return {
    first,
    read: async (buffer, position) => {
      let filled = 0;
      while (filled < buffer.length) {
        const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, position + filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return filled;
    },
    unchanged: async () => {
      const now = await handle.stat({ bigint: true });
      return now.size === first.size && now.mtimeNs === first.mtimeNs && now.ctimeNs === first.ctimeNs;
    },
    close: () => handle.close(),
  };
}

/**
 * The body of a download in chunks. It throws rather than end well when the file has changed meanwhile: the last chunk
 * is held back until that has been looked at, so that a mixture never looks complete. `take` lends the buffers.
 */
export async function* downloadChunks(
  plan: DownloadPlan,
  source: DownloadSource,
  take: (bytes: number) => Buffer | Promise<Buffer> = (bytes) => Buffer.allocUnsafeSlow(bytes),
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array | undefined;
  for (const piece of plan.body) {
    if (typeof piece === "string") {
      if (held !== undefined) yield held;
      held = Buffer.from(piece, "latin1");
      continue;
    }
    for (let at = piece.start; at < piece.end;) {
      const buffer = await take(Math.min(DOWNLOAD_CHUNK_BYTES, piece.end - at));
      const filled = await source.read(buffer, at);
      if (filled < buffer.length) throw changed();
      if (held !== undefined) yield held;
      held = buffer;
      at += filled;
    }
  }
  if (held === undefined) return;
  if (!(await source.unchanged())) throw changed();
  yield held;
}

/** SHA-256 of a file, for `DownloadFile.sha256`. */
export async function sha256OfFile(path: string): Promise<Uint8Array> {
  const before = await stat(path, { bigint: true });
  const hash = createHash("sha256");
  const source = await openFile(path);
  if (source === undefined)
    throw new HoldfastError("invalid-argument", "There is no such file.", { detail: { path } });
  try {
    const buffer = Buffer.allocUnsafeSlow(DOWNLOAD_CHUNK_BYTES);
    for (let at = 0; ;) {
      const filled = await source.read(buffer, at);
      hash.update(buffer.subarray(0, filled));
      at += filled;
      if (filled < buffer.length) break;
    }
    if (!(await source.unchanged()) || before.size !== source.first.size) throw changed();
    return Uint8Array.from(hash.digest());
  } finally {
    await source.close();
  }
}

function tagOf(stats: BigIntStats): string {
  const state = `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
  return `"${createHash("sha256").update(state).digest("base64url").slice(0, 27)}"`;
}

function changed(): HoldfastError {
  return new HoldfastError(
    "store-corrupt",
    "The file changed while it was being sent; the response was broken off.",
  );
}

export const DOWNLOAD_CHUNK_BYTES: number = 1 << 18;
