import { isHoldfastError } from "../../kernel/index.ts";
import type { Fault } from "./protocol/messages.ts";
import { storageFaultReason } from "./storage/fault.ts";

/** What a peer is told of something that was thrown. `report` hears of what is not the peer's doing. */
export function faultOf(error: unknown, report: (error: unknown) => void): Fault {
  const reason = storageFaultReason(error);
  if (reason === "no-space") return { fault: "no-space" };
  if (isHoldfastError(error, "locked")) return { fault: "locked", why: "uploads are locked" };
  if (isHoldfastError(error, "limit-reached")) return { fault: "quota", why: error.message };
  if (isHoldfastError(error, "establish-refused"))
    return { fault: "forbidden", why: "the session it belongs under is over" };
  if (isHoldfastError(error, "session-ended")) return { fault: "gone", why: "the upload's session is over" };
  if (isHoldfastError(error, "session-fenced"))
    return { fault: "locked", why: "another request took the upload over" };
  report(error);
  if (reason === "read-only") return { fault: "unavailable", why: "the storage takes nothing at the moment" };
  if (isHoldfastError(error, "store-unavailable") || isHoldfastError(error, "session-conflict")) {
    return { fault: "unavailable", why: "a store is not available; try again" };
  }
  return { fault: "failed", why: "the request failed on this side" };
}
