export { createTransferServer, createTransfers } from "./server.ts";
export type { Download, Transfers } from "./server.ts";
export { sha256OfFile } from "./download.ts";
export type { DownloadFile } from "./download.ts";
export { DEFAULT_TRANSFER_POLICY } from "./policy.ts";
export type {
  AuthorizeRequest,
  FinishReply,
  FinishedFile,
  TransferPolicy,
  TransfersOptions,
  Verdict,
} from "./policy.ts";
export { openDiskStorage } from "./storage/disk.ts";
export type { DiskStorageOptions } from "./storage/disk.ts";
export * from "./storage/storage.ts";
export { storageFault, storageFaultReason } from "./storage/fault.ts";
export type { StorageFaultReason } from "./storage/fault.ts";
export type { NodeRequest, NodeResponse } from "./node.ts";
