import { createHash } from "node:crypto";

/**
 * The log beside an upload's bytes: a header block, then records of one size, each bound to all before it.
 *
 * header:  "HFlg" u32  length u32  the same inverted u32  JSON  zeros up to a multiple of 512
 * record:  0 "HFck" u32   4 flags u16   6 version u16   8 seq u64   16 offset u64   24 length u64 (all ones: unknown)
 *          32 digestFrom u64   40 base u64   48 fence u64   56 at u64   64 boot id, 16   80 digest, 32
 *          112 chain = SHA-256(chain before it, bytes 0 to 111), 32   144 zeros up to 256
 *
 * The chain before the first record is the SHA-256 of the header block. A record never crosses a 512-byte sector, so
 * that a torn write leaves zeros or a whole record: what is neither has been altered.
 */
export interface LogRecord {
  readonly seq: number;
  readonly offset: number;
  readonly length?: number;
  readonly complete: boolean;
  /** Bytes behind `offset` are not to be adopted. */
  readonly provisional: boolean;
  readonly digestFrom: number;
  /** The upload's offset of the first byte in this segment's file. */
  readonly base: number;
  readonly fence: number;
  readonly at: number;
  readonly bootId: Uint8Array;
  readonly digest: Uint8Array;
}

export interface LogHeader {
  readonly format: 1;
  /** 1 for the first; each claim by another writer begins a new one. */
  readonly segment: number;
  /** The chain of the record in the segment before that this one goes on from. */
  readonly follows?: string;
  readonly createdAt: number;
  readonly info: LogJson;
}

/** What JSON can carry. */
export type LogJson =
  | null
  | boolean
  | number
  | string
  | readonly LogJson[]
  | { readonly [key: string]: LogJson };

/** A record with the chain value behind it. */
export interface ChainedRecord extends LogRecord {
  readonly chain: Uint8Array;
}

export type LogReading =
  | {
      readonly state: "whole";
      readonly header: LogHeader;
      readonly headerChain: Uint8Array;
      readonly records: readonly ChainedRecord[];
      readonly headerBytes: number;
    }
  /** Begun, and cut off before its first record was there: as good as never begun. */
  | { readonly state: "unborn" }
  | { readonly state: "header-corrupt" }
  | { readonly state: "record-corrupt" };

export const RECORD_BYTES = 256;
const SIGNED_BYTES = 112;
const HEADER_MAGIC = 0x48466c67;
const RECORD_MAGIC = 0x4846636b;
const SECTOR = 512;
const PREFIX = 12;
const UNKNOWN_LENGTH = 0xffff_ffff_ffff_ffffn;
const FLAG = { lengthKnown: 1, complete: 2, provisional: 4 } as const;

export function encodeHeader(header: LogHeader): { block: Buffer; chain: Uint8Array } {
  const text = Buffer.from(JSON.stringify(header));
  const block = Buffer.alloc(Math.ceil((PREFIX + text.length) / SECTOR) * SECTOR);
  block.writeUInt32BE(HEADER_MAGIC, 0);
  block.writeUInt32BE(text.length, 4);
  block.writeUInt32BE(~text.length >>> 0, 8);
  text.copy(block, PREFIX);
  return { block, chain: createHash("sha256").update(block).digest() };
}

export function encodeRecord(
  record: LogRecord,
  chainBefore: Uint8Array,
): { block: Buffer; chain: Uint8Array } {
  const block = Buffer.alloc(RECORD_BYTES);
  block.writeUInt32BE(RECORD_MAGIC, 0);
  block.writeUInt16BE(
    (record.length === undefined ? 0 : FLAG.lengthKnown) |
      (record.complete ? FLAG.complete : 0) |
      (record.provisional ? FLAG.provisional : 0),
    4,
  );
  block.writeUInt16BE(1, 6);
  block.writeBigUInt64BE(BigInt(record.seq), 8);
  block.writeBigUInt64BE(BigInt(record.offset), 16);
  block.writeBigUInt64BE(record.length === undefined ? UNKNOWN_LENGTH : BigInt(record.length), 24);
  block.writeBigUInt64BE(BigInt(record.digestFrom), 32);
  block.writeBigUInt64BE(BigInt(record.base), 40);
  block.writeBigUInt64BE(BigInt(record.fence), 48);
  block.writeBigUInt64BE(BigInt(record.at), 56);
  block.set(record.bootId, 64);
  block.set(record.digest, 80);
  const chain = createHash("sha256").update(chainBefore).update(block.subarray(0, SIGNED_BYTES)).digest();
  block.set(chain, SIGNED_BYTES);
  return { block, chain };
}

/** Reads a whole log. Nothing in it is believed that the chain does not cover. */
export function decodeLog(bytes: Buffer): LogReading {
  if (bytes.length < SECTOR || isZero(bytes.subarray(0, SECTOR))) return { state: "unborn" };
  const textLength = bytes.readUInt32BE(4);
  if (bytes.readUInt32BE(0) !== HEADER_MAGIC || bytes.readUInt32BE(8) !== ~textLength >>> 0)
    return { state: "header-corrupt" };
  const headerBytes = Math.ceil((PREFIX + textLength) / SECTOR) * SECTOR;
  // Header and first record are written together: without the record, neither was ever acknowledged.
  if (bytes.length < headerBytes + RECORD_BYTES) return { state: "unborn" };
  if (isZero(bytes.subarray(headerBytes, headerBytes + RECORD_BYTES))) return { state: "unborn" };

  const headerChain = createHash("sha256").update(bytes.subarray(0, headerBytes)).digest();
  const records: ChainedRecord[] = [];
  let chain: Uint8Array = headerChain;
  for (let at = headerBytes; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    const block = bytes.subarray(at, at + RECORD_BYTES);
    if (isZero(block)) {
      // Only the very end may be torn; a record behind a hole proves that the hole was a record once.
      if (!isZero(bytes.subarray(at))) return { state: "record-corrupt" };
      break;
    }
    const record = decodeRecord(block, chain);
    if (record === undefined) return { state: records.length === 0 ? "header-corrupt" : "record-corrupt" };
    records.push(record);
    chain = record.chain;
  }
  const header = parseHeader(bytes.subarray(PREFIX, PREFIX + textLength));
  if (header === undefined) return { state: "header-corrupt" };
  return { state: "whole", header, headerChain, records, headerBytes };
}

function decodeRecord(block: Buffer, chainBefore: Uint8Array): ChainedRecord | undefined {
  const chain = createHash("sha256").update(chainBefore).update(block.subarray(0, SIGNED_BYTES)).digest();
  if (!chain.equals(block.subarray(SIGNED_BYTES, SIGNED_BYTES + 32))) return undefined;
  if (!isZero(block.subarray(SIGNED_BYTES + 32)) || block.readUInt32BE(0) !== RECORD_MAGIC) return undefined;
  const flags = block.readUInt16BE(4);
  return {
    seq: Number(block.readBigUInt64BE(8)),
    offset: Number(block.readBigUInt64BE(16)),
    ...((flags & FLAG.lengthKnown) !== 0 && { length: Number(block.readBigUInt64BE(24)) }),
    complete: (flags & FLAG.complete) !== 0,
    provisional: (flags & FLAG.provisional) !== 0,
    digestFrom: Number(block.readBigUInt64BE(32)),
    base: Number(block.readBigUInt64BE(40)),
    fence: Number(block.readBigUInt64BE(48)),
    at: Number(block.readBigUInt64BE(56)),
    bootId: Uint8Array.from(block.subarray(64, 80)),
    digest: Uint8Array.from(block.subarray(80, 112)),
    chain: Uint8Array.from(chain),
  };
}

function parseHeader(text: Buffer): LogHeader | undefined {
  // The chain has vouched for these bytes: what does not parse was written by something that is not this format.
  try {
    const value: unknown = JSON.parse(text.toString("utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const header = value as Partial<LogHeader>;
    if (header.format !== 1 || typeof header.segment !== "number" || header.info === undefined)
      return undefined;
    return header as LogHeader;
  } catch {
    return undefined;
  }
}

function isZero(bytes: Uint8Array): boolean {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}
