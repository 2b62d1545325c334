import { base64, digestOf, failure, metadataField } from "./answers.ts";
import { TransferError } from "./retry.ts";
import { Sha256 } from "./sha256.ts";
import type { UploadOptions, UploadProgress, UploadResult, UploadSource } from "./upload.ts";

/** Uploads one part; handed in, for a part is an upload like any other. */
export type UploadPart = (
  source: UploadSource,
  options: UploadOptions,
  extra: Readonly<Record<string, string>>,
) => Promise<UploadResult>;

/** Concatenation: each part an upload of its own, all at once, then one request that joins them. Not resumed over runs. */
export async function uploadParts(
  uploadPart: UploadPart,
  source: UploadSource,
  endpoint: string,
  options: UploadOptions,
  count: number,
): Promise<UploadResult> {
  const partBytes = Math.ceil(source.size / count);
  const acknowledged = new Map<number, number>();
  const parts = Array.from({ length: Math.ceil(source.size / partBytes) }, (_, index) => {
    const start = index * partBytes;
    const part: UploadSource = {
      size: Math.min(partBytes, source.size - start),
      read: (from, to) => source.read(start + from, start + to),
      ...(source.unchanged !== undefined && {
        unchanged: () => source.unchanged?.() ?? Promise.resolve(true),
      }),
    };
    const { onState: _state, resume: _resume, metadata: _metadata, ...shared } = options;
    const onProgress = (progress: UploadProgress): void => {
      acknowledged.set(index, progress.acknowledged);
      const sum = [...acknowledged.values()].reduce((a, b) => a + b, 0);
      options.onProgress?.({ acknowledged: sum, total: source.size, restarted: progress.restarted });
    };
    return uploadPart(part, { ...shared, onProgress }, { "Upload-Concat": "partial" });
  });
  const done = await Promise.all(parts);
  const doFetch = options.fetch ?? globalThis.fetch;
  const metadata = metadataField({
    ...(source.name !== undefined && { filename: source.name }),
    ...(source.type !== undefined && { filetype: source.type }),
    ...options.metadata,
  });
  const response = await doFetch(endpoint, {
    method: "POST",
    headers: {
      "Tus-Resumable": "1.0.0",
      ...options.headers,
      "Upload-Concat": `final;${done.map((part) => new URL(part.url).pathname).join(" ")}`,
      ...(metadata !== "" && { "Upload-Metadata": metadata }),
    },
  });
  await response.arrayBuffer();
  const location = response.headers.get("location");
  if (response.status !== 201 || location === null) throw failure("join the parts", response);
  const hash = options.hash?.() ?? new Sha256();
  for (let at = 0; at < source.size; at += HASH_BYTES)
    hash.update(await source.read(at, Math.min(at + HASH_BYTES, source.size)));
  const sha256 = hash.digest();
  const told = digestOf(response);
  if (told !== undefined && told !== base64(sha256))
    throw new TransferError("digest-mismatch", "The server joined other bytes than were sent.");
  return {
    url: new URL(location, endpoint).href,
    bytes: source.size,
    sentBytes: done.reduce((sum, part) => sum + part.sentBytes, 0),
    sha256,
    verified: told !== undefined,
  };
}

const HASH_BYTES = 1024 * 1024;
