import { HoldfastError } from "./errors.ts";
import type { Checkpoint, SessionRecord } from "./record.ts";

/**
 * The checkpoint after `point`, or `undefined` when the session stands there already.
 * @throws HoldfastError `checkpoint-backwards`: what was acknowledged to a peer is never taken back.
 */
export function advanced(
  record: SessionRecord,
  point: Omit<Checkpoint, "at">,
  now: number,
): Checkpoint | undefined {
  const reached = record.checkpoint?.position ?? 0;
  if (point.position < reached) {
    throw new HoldfastError(
      "checkpoint-backwards",
      `The checkpoint stands at ${reached} and cannot go back to ${point.position}.`,
      { detail: { handle: record.handle, position: point.position } },
    );
  }
  const same = point.position === record.checkpoint?.position && point.total === record.checkpoint.total;
  return same && point.note === undefined ? undefined : { at: now, ...point };
}
