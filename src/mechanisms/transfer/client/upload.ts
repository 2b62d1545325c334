import { base64, countOf, digestOf, failure, metadataField } from "./answers.ts";
import { uploadParts } from "./parallel.ts";
import type { UploadPart } from "./parallel.ts";
import { DEFAULT_RETRY, Retries, TransferError, isRetriable, throwIfPaused } from "./retry.ts";
import type { OnRetry, RetryPolicy } from "./retry.ts";
import { Sha256 } from "./sha256.ts";
import type { StreamHash } from "./sha256.ts";

/** What is uploaded: bytes that can be read again from any place. */
export interface UploadSource {
  readonly size: number;
  readonly name?: string;
  readonly type?: string;
  read(start: number, end: number): Promise<Uint8Array>;
  /** Something that changes when the content does; kept with the resume state. */
  readonly fingerprint?: string;
  /** False once the content is not any more what it was at the start. */
  unchanged?(): Promise<boolean>;
}

/** Where an upload can be found again by a later run. Everything in it is safe to store as JSON. */
export interface UploadState {
  readonly url: string;
  readonly size: number;
  readonly fingerprint?: string;
}

export interface UploadOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly metadata?: Readonly<Record<string, string>>;
  /** Bytes sent in one request. */
  readonly chunkBytes?: number;
  /** Send in so many parts at once, and have the server join them. */
  readonly parallel?: number;
  /** The state of an earlier run. */
  readonly resume?: UploadState;
  /** Hears of new state, to be kept for a later run; `undefined` when there is nothing to resume any more. */
  readonly onState?: (state: UploadState | undefined) => void | Promise<void>;
  readonly onProgress?: (progress: UploadProgress) => void;
  /** Aborted: the run ends with `paused`, and nothing that was acknowledged is lost. */
  readonly signal?: AbortSignal;
  readonly retry?: Partial<RetryPolicy>;
  readonly onRetry?: OnRetry;
  readonly fetch?: typeof fetch;
  readonly hash?: () => StreamHash;
}

export interface UploadProgress {
  /** Bytes the server has acknowledged: durable there, never to be sent again. */
  readonly acknowledged: number;
  readonly total: number;
  /** True when an earlier upload could not be resumed and this is a new one. */
  readonly restarted: boolean;
}

export interface UploadResult {
  readonly url: string;
  readonly bytes: number;
  /** Bytes put on the wire; more than `bytes` only by what was under way when a connection broke. */
  readonly sentBytes: number;
  readonly sha256: Uint8Array;
  /** True when the server told the same digest. */
  readonly verified: boolean;
}

/**
 * Uploads with tus 1.0. Before it appends to anything it asks how far the server is and compares the digest of what is
 * there with its own: two files are never mixed.
 * @throws TransferError
 */
export async function upload(
  source: UploadSource,
  endpoint: string,
  options: UploadOptions = {},
): Promise<UploadResult> {
  if ((options.parallel ?? 1) > 1 && source.size > 0) {
    const uploadPart: UploadPart = (part, own, extra) => new UploadRun(part, endpoint, own, extra).run();
    return uploadParts(uploadPart, source, endpoint, options, options.parallel ?? 1);
  }
  return new UploadRun(source, endpoint, options).run();
}

/** A browser's `File` or `Blob`. */
export function blobSource(
  blob: Blob & { readonly name?: string; readonly lastModified?: number },
): UploadSource {
  return {
    size: blob.size,
    ...(blob.name !== undefined && { name: blob.name }),
    ...(blob.type !== "" && { type: blob.type }),
    fingerprint: `${blob.name ?? ""}:${blob.size}:${blob.lastModified ?? 0}`,
    read: async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()),
  };
}

class UploadRun {
  readonly #source: UploadSource;
  readonly #endpoint: string;
  readonly #options: UploadOptions;
  readonly #fetch: typeof fetch;
  readonly #retries: Retries;
  readonly #extra: Readonly<Record<string, string>>;
  #hash: StreamHash;
  #hashed = 0;
  #sentBytes = 0;
  /** Halved when a request failed and doubled when one went through: a network that cuts long ones lets short ones pass. */
  #chunkBytes: number;
  #restarted = false;

  constructor(
    source: UploadSource,
    endpoint: string,
    options: UploadOptions,
    extra: Readonly<Record<string, string>> = {},
  ) {
    this.#source = source;
    this.#endpoint = endpoint;
    this.#options = options;
    // Called as a method of anything else, a browser's own fetch refuses.
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#retries = new Retries({ ...DEFAULT_RETRY, ...options.retry }, options.signal, options.onRetry);
    this.#extra = extra;
    this.#chunkBytes = options.chunkBytes ?? DEFAULT_CHUNK_BYTES;
    this.#hash = this.#newHash();
  }

  async run(): Promise<UploadResult> {
    let place = await this.#resume();
    let response: Response | undefined;
    if (place === undefined) {
      const made = await this.#create();
      place = { url: made.url, offset: 0 };
      response = made.response;
    }
    let { url, offset } = place;
    this.#tell(offset);
    while (offset < this.#source.size) {
      const sent = await this.#send(url, offset);
      if (sent === "lost") {
        ({ url } = await this.#startOver());
        offset = 0;
      } else {
        if (sent.offset > offset) this.#retries.progressed();
        offset = sent.offset;
        response = sent.response ?? response;
      }
      this.#tell(offset);
    }
    await this.#hashUpTo(this.#source.size);
    await this.#assertUnchanged();
    const sha256 = this.#hash.digest();
    const told = digestOf(response) ?? digestOf(await this.#ask("HEAD", url, {}));
    if (told !== undefined && told !== base64(sha256)) {
      await this.#forget();
      throw new TransferError(
        "digest-mismatch",
        "The server holds other bytes than were sent; upload the file again.",
      );
    }
    await this.#forget();
    return {
      url,
      bytes: this.#source.size,
      sentBytes: this.#sentBytes,
      sha256,
      verified: told !== undefined,
    };
  }

  /** The upload of an earlier run, if it is still there and its beginning is the beginning of our file. */
  async #resume(): Promise<{ url: string; offset: number } | undefined> {
    const { resume } = this.#options;
    if (resume === undefined) return undefined;
    if (resume.size !== this.#source.size || resume.fingerprint !== this.#source.fingerprint) {
      await this.#forget();
      this.#restarted = true;
      return undefined;
    }
    const found = await this.#inspect(resume.url);
    if (found === "lost") {
      await this.#forget();
      this.#restarted = true;
      return undefined;
    }
    return { url: resume.url, offset: found };
  }

  async #create(): Promise<{ url: string; response: Response }> {
    const { name, type } = this.#source;
    const metadata = {
      ...(name !== undefined && { filename: name }),
      ...(type !== undefined && { filetype: type }),
      ...this.#options.metadata,
    };
    const field = metadataField(metadata);
    for (;;) {
      const response = await this.#ask("POST", this.#endpoint, {
        "Upload-Length": String(this.#source.size),
        ...(field !== "" && { "Upload-Metadata": field }),
        ...this.#extra,
      });
      const location = response?.headers.get("location");
      if (response?.status === 201 && location !== undefined && location !== null) {
        const url = new URL(location, response.url === "" ? this.#endpoint : response.url).href;
        await this.#options.onState?.({
          url,
          size: this.#source.size,
          ...(this.#source.fingerprint !== undefined && { fingerprint: this.#source.fingerprint }),
        });
        return { url, response };
      }
      await this.#retries.next(failure("create the upload", response), response?.headers.get("retry-after"));
    }
  }

  /** Where the server stands, having compared digests; `lost` when there is nothing to go on with. */
  async #inspect(url: string): Promise<number | "lost"> {
    for (;;) {
      const response = await this.#ask(
        "HEAD",
        url,
        { "Want-Repr-Digest": "sha-256=10" },
        undefined,
        [403, 404, 410],
      );
      if (response !== undefined && [403, 404, 410].includes(response.status)) return "lost";
      const offset = countOf(response, "upload-offset");
      if (response?.ok === true && offset !== undefined && offset <= this.#source.size) {
        return (await this.#sameBeginning(response, offset)) ? offset : "lost";
      }
      if (response?.ok === true) return "lost";
      await this.#retries.next(failure("look up the upload", response), response?.headers.get("retry-after"));
    }
  }

  async #sameBeginning(response: Response, offset: number): Promise<boolean> {
    const told = digestOf(response);
    if (told === undefined) return true;
    this.#hash = this.#newHash();
    this.#hashed = 0;
    await this.#hashUpTo(offset);
    const mine = base64(this.#hash.digest());
    // The hash has been used up; the next one to need it starts again.
    this.#hash = this.#newHash();
    this.#hashed = 0;
    return told === mine;
  }

  async #send(url: string, offset: number): Promise<{ offset: number; response?: Response } | "lost"> {
    const end = Math.min(offset + this.#chunkBytes, this.#source.size);
    const chunk = await this.#source.read(offset, end);
    if (chunk.length !== end - offset)
      throw new TransferError("source-changed", "The file became shorter while it was being sent.");
    if (end === this.#source.size) await this.#assertUnchanged();
    this.#sentBytes += chunk.length;
    const headers = { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
    const response = await this.#ask("PATCH", url, headers, chunk, [404, 410]);
    if (response !== undefined && [404, 410].includes(response.status)) return "lost";
    const reached = countOf(response, "upload-offset");
    if (response?.ok === true && reached !== undefined && reached >= offset) {
      if (this.#hashed === offset) {
        this.#hash.update(chunk.subarray(0, reached - offset));
        this.#hashed = Math.max(this.#hashed, reached);
      }
      this.#chunkBytes = Math.min(this.#chunkBytes * 2, this.#options.chunkBytes ?? DEFAULT_CHUNK_BYTES);
      return { offset: reached, response };
    }
    this.#chunkBytes = Math.max(
      Math.ceil(this.#chunkBytes / 2),
      Math.min(LEAST_CHUNK_BYTES, this.#chunkBytes),
    );
    await this.#retries.next(failure("send", response), response?.headers.get("retry-after"));
    const found = await this.#inspect(url);
    return found === "lost" ? "lost" : { offset: found };
  }

  async #startOver(): Promise<{ url: string }> {
    await this.#retries.next(
      new TransferError("refused", "The server has lost the upload more than once.", { status: 410 }),
    );
    await this.#forget();
    this.#restarted = true;
    this.#hash = this.#newHash();
    this.#hashed = 0;
    return this.#create();
  }

  async #forget(): Promise<void> {
    await this.#options.onState?.(undefined);
  }

  /** `undefined`: no answer. Throws for an answer that no attempt will change, but for those in `expected`. */
  async #ask(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
    body?: Uint8Array,
    expected: readonly number[] = [],
  ): Promise<Response | undefined> {
    throwIfPaused(this.#options.signal);
    try {
      const response = await this.#fetch(url, {
        method,
        headers: { "Tus-Resumable": "1.0.0", ...this.#options.headers, ...headers },
        ...(body !== undefined && { body: body as Uint8Array<ArrayBuffer> }),
        ...(this.#options.signal !== undefined && { signal: this.#options.signal }),
      });
      const text = response.ok ? undefined : (await response.text()).trim();
      if (response.ok) await response.arrayBuffer();
      if (!response.ok && !isRetriable(response.status) && !expected.includes(response.status)) {
        throw new TransferError(
          "refused",
          `The server answered ${response.status}${text === "" ? "" : `: ${text}`}`,
          { status: response.status },
        );
      }
      return response;
    } catch (error) {
      if (error instanceof TransferError) throw error;
      throwIfPaused(this.#options.signal);
      return undefined;
    }
  }

  async #hashUpTo(end: number): Promise<void> {
    while (this.#hashed < end) {
      throwIfPaused(this.#options.signal);
      const bytes = await this.#source.read(this.#hashed, Math.min(this.#hashed + HASH_BYTES, end));
      if (bytes.length === 0)
        throw new TransferError("source-changed", "The file became shorter while it was being sent.");
      this.#hash.update(bytes);
      this.#hashed += bytes.length;
    }
  }

  async #assertUnchanged(): Promise<void> {
    if ((await this.#source.unchanged?.()) === false) {
      await this.#forget();
      throw new TransferError(
        "source-changed",
        "The file changed while it was being sent; nothing was finished.",
      );
    }
  }

  #newHash(): StreamHash {
    return this.#options.hash?.() ?? new Sha256();
  }

  #tell(acknowledged: number): void {
    this.#options.onProgress?.({ acknowledged, total: this.#source.size, restarted: this.#restarted });
  }
}

const DEFAULT_CHUNK_BYTES = 8 * 1024 * 1024;
const LEAST_CHUNK_BYTES = 64 * 1024;
const HASH_BYTES = 1024 * 1024;
