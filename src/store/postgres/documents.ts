import type { Barrier, BarrierDraft, NodeLease } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";

// Barriers and leases are kept as JSON, as records are.

export function decodeBarrier(text: string, seq: number): Barrier {
  const draft: unknown = parse(text);
  if (!isBarrierDraft(draft)) throw corrupt("a barrier");
  return { ...draft, seq };
}

export function decodeLease(text: string): NodeLease {
  const lease: unknown = parse(text);
  if (!isLease(lease)) throw corrupt("a node's lease");
  return lease;
}

function isBarrierDraft(value: unknown): value is BarrierDraft {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "string" &&
    "kind" in value &&
    (value.kind === "revocation" || value.kind === "lock") &&
    "selector" in value &&
    typeof value.selector === "object"
  );
}

function isLease(value: unknown): value is NodeLease {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "string" &&
    "epoch" in value &&
    typeof value.epoch === "number" &&
    "until" in value &&
    typeof value.until === "number"
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function corrupt(what: string): HoldfastError {
  return new HoldfastError(
    "store-corrupt",
    `PostgreSQL holds something that is not ${what} where one should be.`,
  );
}
