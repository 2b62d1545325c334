import { HoldfastError } from "../../kernel/errors.ts";
import type { SessionRecord } from "../../kernel/record.ts";
import { decodeRecord, encodeRecord } from "../../kernel/record-codec.ts";
import type { Found } from "../../kernel/store.ts";

/**
 * A record as Redis holds it:
 *
 *     version ":" epoch ":" bytes ":" characters ":" principal record
 *
 * The head is what scripts need without reading JSON: the version they compare, the epoch they carry over, and the
 * principal whose epoch goes with the answer ("+" before it, so that no principal and an empty one differ). Version
 * and epoch of the head prevail over those in the record's own text.
 */
export function encodeStored(record: SessionRecord): string {
  const principal = record.principal === undefined ? "" : `+${record.principal}`;
  const bytes = Buffer.byteLength(principal);
  return `${record.version}:${record.epoch}:${bytes}:${principal.length}:${principal}${encodeRecord(record)}`;
}

/** @throws HoldfastError `store-corrupt` when `text` is none of ours. */
export function decodeStored(text: string): SessionRecord {
  const head = /^(\d+):(\d+):\d+:(\d+):/.exec(text);
  if (head === null) throw corrupt("a record");
  const version = Number(head[1]);
  const epoch = Number(head[2]);
  const record = decodeRecord(text.slice(head[0].length + Number(head[3])));
  if (record.version === version && record.epoch === epoch) return record;
  return { ...record, version, epoch };
}

/** What LOOKUP and PAGE answer for one session. */
export function decodeFound(value: unknown, epoch: unknown): Found | undefined {
  if (value === null || value === undefined) return undefined;
  return { record: decodeStored(textOf(value)), epoch: numberOf(epoch) };
}

/** A reply that must be text. @throws HoldfastError `store-corrupt` */
export function textOf(reply: unknown): string {
  if (typeof reply !== "string") throw corrupt("text");
  return reply;
}

/** A number, or 0 where there is none. @throws HoldfastError `store-corrupt` */
export function numberOf(reply: unknown): number {
  if (reply === null || reply === undefined) return 0;
  const value = typeof reply === "number" ? reply : Number(textOf(reply));
  if (!Number.isFinite(value)) throw corrupt("a number");
  return value;
}

/** A reply that must be a list. @throws HoldfastError `store-corrupt` */
export function listOf(reply: unknown): readonly unknown[] {
  if (!Array.isArray(reply)) throw corrupt("a list");
  return reply;
}

/** A number and what follows its colon: how barriers, leases and tickets are kept. */
export function splitNumber(text: string): { readonly number: number; readonly rest: string } {
  const colon = text.indexOf(":");
  const number = Number(text.slice(0, colon));
  if (colon < 1 || !Number.isFinite(number)) throw corrupt("a number before a colon");
  return { number, rest: text.slice(colon + 1) };
}

function corrupt(expected: string): HoldfastError {
  return new HoldfastError(
    "store-corrupt",
    `Redis answered something else where ${expected} should be; the key prefix may be shared with another program.`,
  );
}
