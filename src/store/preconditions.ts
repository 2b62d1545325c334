import { HoldfastError } from "../kernel/errors.ts";
import type { SessionRecord } from "../kernel/record.ts";
import type { ListQuery } from "../kernel/store.ts";

/** What every store asks of its caller before it writes: these are mistakes in a program, not answers to a peer. */

/** @throws HoldfastError `invalid-argument` unless `record` can be a new session's first version. */
export function assertFirst(record: SessionRecord): void {
  if (record.version !== 1) {
    throw new HoldfastError("invalid-argument", "A session is created with version 1.", {
      detail: { handle: record.handle, version: record.version },
    });
  }
}

/** @throws HoldfastError `invalid-argument` unless `next` is the version after `prev` of the same session. */
export function assertSuccessor(prev: SessionRecord, next: SessionRecord): void {
  if (next.handle !== prev.handle || next.version !== prev.version + 1) {
    throw new HoldfastError(
      "invalid-argument",
      "An update replaces a version by the next one of the same session.",
      {
        detail: {
          handle: prev.handle,
          version: prev.version,
          nextHandle: next.handle,
          nextVersion: next.version,
        },
      },
    );
  }
}

/** @throws HoldfastError `invalid-argument` when `limit` is not a whole number from 1 to 1,000. */
export function assertPage({ limit }: Pick<ListQuery, "limit">): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new HoldfastError("invalid-argument", "A page holds 1 to 1,000 records.", { detail: { limit } });
  }
}

export function storeClosed(kind: string): HoldfastError {
  return new HoldfastError("store-closed", `This ${kind} store was closed; open another one.`);
}
