import { createHash } from "node:crypto";
import { open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename } from "node:path";
import { DEFAULT_RETRY, Retries, TransferError, isRetriable, throwIfPaused } from "./retry.ts";
import type { OnRetry, RetryPolicy } from "./retry.ts";
import type { StreamHash } from "./sha256.ts";
import { base64 } from "./answers.ts";
import { upload } from "./upload.ts";
import type { UploadOptions, UploadResult, UploadSource, UploadState } from "./upload.ts";

/** Uploads a file, and goes on where an earlier run stopped. State lies beside the file until the upload is done. */
export async function putFile(
  path: string,
  endpoint: string,
  options: PutOptions = {},
): Promise<UploadResult> {
  const source = await fileSource(path);
  const statePath = options.statePath ?? `${path}.holdfast-put`;
  const kept = await readState(statePath, endpoint);
  try {
    return await upload(source, endpoint, {
      hash: nodeHash,
      ...options,
      ...(kept !== undefined && { resume: kept }),
      onState: async (state) => {
        if (state === undefined) await rm(statePath, { force: true });
        else await writeFile(statePath, JSON.stringify({ endpoint, ...state }), { mode: 0o600 });
        await options.onState?.(state);
      },
    });
  } finally {
    await source.close();
  }
}

export interface PutOptions extends Omit<UploadOptions, "resume"> {
  /** Where what is needed to resume is kept; by default beside the file. */
  readonly statePath?: string;
}

/** A file as an upload's source. It notices when the file is not any more what it was when it was opened. */
export async function fileSource(path: string): Promise<UploadSource & { close(): Promise<void> }> {
  const handle = await open(path, "r");
  const first = await handle.stat({ bigint: true });
  const fingerprint = `${first.ino}:${first.size}:${first.mtimeNs}`;
  return {
    size: Number(first.size),
    name: basename(path),
    fingerprint,
    read: (start, end) => readFully(handle, start, end),
    unchanged: async () => {
      const now = await handle.stat({ bigint: true });
      return `${now.ino}:${now.size}:${now.mtimeNs}` === fingerprint;
    },
    close: () => handle.close(),
  };
}

export interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly onProgress?: (progress: {
    readonly received: number;
    readonly total: number | undefined;
    readonly restarted: boolean;
  }) => void;
  readonly signal?: AbortSignal;
  readonly retry?: Partial<RetryPolicy>;
  readonly onRetry?: OnRetry;
  readonly fetch?: typeof fetch;
}

export interface GetResult {
  readonly bytes: number;
  /** Bytes that came over the wire in this run. */
  readonly receivedBytes: number;
  readonly sha256: Uint8Array;
  /** True when the server told the same digest. */
  readonly verified: boolean;
}

/**
 * Downloads into `path`, by way of `path.holdfast-part`, and goes on where an earlier run stopped. A range is asked for
 * only together with the strong tag it belongs to: if the file has changed, it starts over and never appends.
 * @throws TransferError
 */
export function getFile(url: string, path: string, options: GetOptions = {}): Promise<GetResult> {
  return new DownloadRun(url, path, options).run();
}

export function nodeHash(): StreamHash {
  const hash = createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), digest: () => Uint8Array.from(hash.digest()) };
}

/** What a partial download is a part of. */
interface PartState {
  readonly url: string;
  readonly etag: string;
  readonly total: number;
  readonly digest?: string;
}

class DownloadRun {
  readonly #url: string;
  readonly #path: string;
  readonly #part: string;
  readonly #note: string;
  readonly #options: GetOptions;
  readonly #retries: Retries;
  #received = 0;
  #restarted = false;
  #mismatches = 0;

  constructor(url: string, path: string, options: GetOptions) {
    this.#url = url;
    this.#path = path;
    this.#part = `${path}.holdfast-part`;
    this.#note = `${this.#part}.json`;
    this.#options = options;
    this.#retries = new Retries({ ...DEFAULT_RETRY, ...options.retry }, options.signal, options.onRetry);
  }

  async run(): Promise<GetResult> {
    for (;;) {
      const state = await this.#attempt();
      if (state === undefined) continue;
      const { sha256, bytes } = await hashFile(this.#part);
      if (state.digest !== undefined && state.digest !== base64(sha256)) {
        await this.#discard();
        this.#mismatches += 1;
        const wrong = new TransferError(
          "digest-mismatch",
          "What arrived does not match the digest the server told.",
        );
        if (this.#mismatches > 1) throw wrong;
        await this.#retries.next(wrong);
        continue;
      }
      await rename(this.#part, this.#path);
      await rm(this.#note, { force: true });
      return { bytes, receivedBytes: this.#received, sha256, verified: state.digest !== undefined };
    }
  }

  /** One request. What is complete now, or `undefined` when another has to follow. */
  async #attempt(): Promise<PartState | undefined> {
    throwIfPaused(this.#options.signal);
    const kept = await this.#kept();
    const offset = kept?.offset ?? 0;
    if (kept !== undefined && offset === kept.state.total) return kept.state;
    let response: Response;
    try {
      response = await (this.#options.fetch ?? globalThis.fetch)(this.#url, {
        headers: {
          // What a proxy compresses on the way has other bytes, and other offsets, than what is stored.
          "Accept-Encoding": "identity",
          "Want-Repr-Digest": "sha-256=10",
          ...this.#options.headers,
          ...(kept !== undefined && offset > 0 && { Range: `bytes=${offset}-`, "If-Range": kept.state.etag }),
        },
        ...(this.#options.signal !== undefined && { signal: this.#options.signal }),
      });
    } catch (error) {
      throwIfPaused(this.#options.signal);
      await this.#retries.next(
        new TransferError("unreachable", "The server could not be reached.", { cause: error }),
      );
      return undefined;
    }
    if (response.status === 206 && kept !== undefined && continues(response, kept.state, offset)) {
      return this.#receive(response, kept.state, offset);
    }
    if (response.status === 200) {
      if (offset > 0) this.#restarted = true;
      return this.#receive(response, newState(this.#url, response), 0);
    }
    await response.body?.cancel();
    if (response.status === 206 || response.status === 416) {
      await this.#discard();
      this.#restarted = true;
      await this.#retries.next(
        new TransferError("unsupported", "The server sent another range than was asked for.", {
          status: response.status,
        }),
      );
      return undefined;
    }
    const wrong = new TransferError(
      isRetriable(response.status) ? "unreachable" : "refused",
      `The server answered ${response.status}.`,
      {
        status: response.status,
      },
    );
    if (!isRetriable(response.status)) throw wrong;
    await this.#retries.next(wrong, response.headers.get("retry-after"));
    return undefined;
  }

  async #receive(
    response: Response,
    state: PartState | undefined,
    offset: number,
  ): Promise<PartState | undefined> {
    if (offset === 0) {
      await this.#discard();
      // Without a strong tag there is nothing a later range could be tied to: then this run has to bring all of it.
      if (state !== undefined && state.etag !== "") await writeFile(this.#note, JSON.stringify(state));
    }
    const file = await open(this.#part, offset === 0 ? "w" : "r+");
    let at = offset;
    let broken: unknown;
    try {
      this.#tell(at, state?.total);
      for await (const chunk of response.body ?? []) {
        const { bytesWritten } = await file.write(chunk, 0, chunk.length, at);
        if (bytesWritten < chunk.length) throw new TransferError("refused", "The disk takes nothing more.");
        at += chunk.length;
        this.#received += chunk.length;
        this.#retries.progressed();
        this.#tell(at, state?.total);
      }
      await file.sync();
    } catch (error) {
      if (error instanceof TransferError) throw error;
      broken = error;
    } finally {
      await file.close();
    }
    throwIfPaused(this.#options.signal);
    const total = state?.total ?? at;
    if (broken === undefined && at === total) return state ?? { url: this.#url, etag: "", total };
    if (at > total) await this.#discard();
    await this.#retries.next(
      new TransferError("unreachable", `The connection broke after ${at} bytes.`, { cause: broken }),
    );
    return undefined;
  }

  async #kept(): Promise<{ state: PartState; offset: number } | undefined> {
    const state = parsePartState(await readJson(this.#note));
    const size = await fileSize(this.#part);
    if (state === undefined || size === undefined || state.url !== this.#url || size > state.total)
      return undefined;
    return { state, offset: size };
  }

  async #discard(): Promise<void> {
    await rm(this.#note, { force: true });
    await rm(this.#part, { force: true });
  }

  #tell(received: number, total: number | undefined): void {
    this.#options.onProgress?.({ received, total, restarted: this.#restarted });
  }
}

/** RFC 9110 §15.3.7.3: parts are combined only if they have the same strong validator and fit together. */
function continues(response: Response, state: PartState, offset: number): boolean {
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const etag = response.headers.get("etag");
  return (
    range !== null && Number(range[1]) === offset && Number(range[3]) === state.total && etag === state.etag
  );
}

function newState(url: string, response: Response): PartState | undefined {
  const length = response.headers.get("content-length");
  if (length === null || !/^\d{1,15}$/.test(length) || response.headers.get("content-encoding") !== null)
    return undefined;
  const etag = response.headers.get("etag") ?? "";
  const digest = /(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]+):/.exec(
    response.headers.get("repr-digest") ?? "",
  )?.[1];
  return {
    url,
    etag: etag.startsWith('"') ? etag : "",
    total: Number(length),
    ...(digest !== undefined && { digest }),
  };
}

function parsePartState(value: unknown): PartState | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { url, etag, total, digest } = value as Partial<Record<keyof PartState, unknown>>;
  if (
    typeof url !== "string" ||
    typeof etag !== "string" ||
    typeof total !== "number" ||
    !etag.startsWith('"')
  )
    return undefined;
  return { url, etag, total, ...(typeof digest === "string" && { digest }) };
}

async function readState(path: string, endpoint: string): Promise<UploadState | undefined> {
  const value = await readJson(path);
  if (typeof value !== "object" || value === null) return undefined;
  const kept = value as Partial<Record<keyof UploadState | "endpoint", unknown>>;
  if (kept.endpoint !== endpoint || typeof kept.url !== "string" || typeof kept.size !== "number")
    return undefined;
  return {
    url: kept.url,
    size: kept.size,
    ...(typeof kept.fingerprint === "string" && { fingerprint: kept.fingerprint }),
  };
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    // Not there, or cut short by a crash: then there is nothing to go on from.
    return undefined;
  }
}

async function fileSize(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch {
    return undefined;
  }
}

async function hashFile(path: string): Promise<{ sha256: Uint8Array; bytes: number }> {
  const hash = nodeHash();
  const handle = await open(path, "r");
  try {
    for (let bytes = 0; ;) {
      const chunk = await readFully(handle, bytes, bytes + 1_048_576);
      if (chunk.length === 0) return { sha256: hash.digest(), bytes };
      hash.update(chunk);
      bytes += chunk.length;
    }
  } finally {
    await handle.close();
  }
}

async function readFully(handle: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(end - start);
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await handle.read(buffer, filled, buffer.length - filled, start + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}
