import { closeSync, fstatSync, openSync, readSync } from "node:fs";

import { HoldfastError } from "../../kernel/errors.ts";

/**
 * Looks at the head of a data file before LMDB does, because LMDB maps what it is given and a file that is none of its
 * own can take the whole process down. A file that is missing or empty is a new one.
 * @throws HoldfastError `store-corrupt` when LMDB had better not open it.
 */
export function assertDataFile(path: string): void {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
    throw error;
  }
  try {
    const { size } = fstatSync(file);
    if (size === 0) return;
    const first = readMeta(file, 0);
    // The two meta pages take turns; each names the size of a page in its first word of the free list's tree.
    const second = first === undefined ? undefined : readMeta(file, first.pageSize);
    if (first === undefined || second === undefined) {
      throw corrupt(path, "it is not an LMDB file of this machine's byte order, version 2");
    }
    const newest = first.transaction > second.transaction ? first : second;
    if (newest.root !== NO_PAGE && (newest.root + 1n) * BigInt(newest.pageSize) > BigInt(size)) {
      throw corrupt(path, "it was cut short");
    }
  } finally {
    closeSync(file);
  }
}

interface Meta {
  readonly pageSize: number;
  /** Page of the root of the tree that names the databases. */
  readonly root: bigint;
  readonly transaction: bigint;
}

/** Where things are in a meta page, counted from its start: a page header of 24 bytes, then `MDB_meta` of mdb.c. */
const OFFSET = { magic: 24, version: 28, pageSize: 48, root: 136, transaction: 152, end: 160 } as const;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

function readMeta(file: number, at: number): Meta | undefined {
  const bytes = Buffer.alloc(OFFSET.end);
  if (readSync(file, bytes, 0, bytes.length, at) < bytes.length) return undefined;
  if (bytes.readUInt32LE(OFFSET.magic) !== MAGIC) return undefined;
  if ((bytes.readUInt32LE(OFFSET.version) & 0xffff) !== DATA_VERSION) return undefined;
  const pageSize = bytes.readUInt32LE(OFFSET.pageSize);
  if (pageSize < 256 || pageSize > 65536) return undefined;
  return {
    pageSize,
    root: bytes.readBigUInt64LE(OFFSET.root),
    transaction: bytes.readBigUInt64LE(OFFSET.transaction),
  };
}

function corrupt(path: string, why: string): HoldfastError {
  return new HoldfastError(
    "store-corrupt",
    `${path} cannot be used: ${why}. Restore a backup, or use another folder.`,
    { detail: { path } },
  );
}
