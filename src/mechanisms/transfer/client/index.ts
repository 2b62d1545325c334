/** For browsers and Node; what needs a file system is in `files.ts`, exported as `holdfast/transfer/files`. */
export { blobSource, upload } from "./upload.ts";
export type { UploadOptions, UploadProgress, UploadResult, UploadSource, UploadState } from "./upload.ts";
export { DEFAULT_RETRY, TransferError, isRetriable } from "./retry.ts";
export type { OnRetry, RetryPolicy, TransferErrorCode } from "./retry.ts";
export { Sha256 } from "./sha256.ts";
export type { StreamHash } from "./sha256.ts";
