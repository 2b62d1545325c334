import { HoldfastError } from "../../../kernel/index.ts";

/** Why the system below could not do it; `detail.reason` of the `store-unavailable` that a storage throws. */
export type StorageFaultReason = "no-space" | "read-only" | "io";

/** An error of the file system as the one a storage may throw. */
export function storageFault(error: unknown, doing: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = errorCode(error);
  const reason: StorageFaultReason =
    code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG"
      ? "no-space"
      : code === "EROFS" || code === "EACCES" || code === "EPERM"
        ? "read-only"
        : "io";
  return new HoldfastError("store-unavailable", `The storage cannot ${doing}: ${SENTENCES[reason]}`, {
    cause: error,
    detail: { reason, code: code ?? "unknown" },
  });
}

export function storageFaultReason(error: unknown): StorageFaultReason | undefined {
  if (!(error instanceof HoldfastError) || error.code !== "store-unavailable") return undefined;
  const reason = error.detail["reason"];
  return reason === "no-space" || reason === "read-only" || reason === "io" ? reason : undefined;
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const SENTENCES: Readonly<Record<StorageFaultReason, string>> = {
  "no-space": "no room is left on it. Free some, or raise the watermark.",
  "read-only": "it may not be written by this process.",
  io: "the device reports an error.",
};
