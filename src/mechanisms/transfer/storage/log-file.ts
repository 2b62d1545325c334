import { constants } from "node:fs";

const { O_CREAT, O_DSYNC, O_EXCL, O_WRONLY } = constants;

/**
 * Whether a write to a log is durable when it returns, in one system call. Linux means it; elsewhere O_DSYNC is missing,
 * or does not reach through the cache of the disk as fdatasync does.
 */
export const SYNCED_WRITES: boolean = process.platform === "linux";
const SYNCED = SYNCED_WRITES ? O_DSYNC : 0;

export const NEW_LOG: number = O_WRONLY | O_CREAT | O_EXCL | SYNCED;
export const OLD_LOG: number = O_WRONLY | SYNCED;

/**
 * What is written for `block` at `position`: where it is the first of a block of the file system, with room behind it
 * for those that follow. They then fill what is there already, and making them durable costs no more than the write:
 * nothing about the file has to go through the file system's journal. A reader takes zeros at the end for no record.
 */
export function inRoom(block: Buffer, position: number): Buffer {
  if (position % ROOM_BYTES !== 0) return block;
  const room = Buffer.alloc(Math.ceil(block.length / ROOM_BYTES) * ROOM_BYTES);
  block.copy(room);
  return room;
}

const ROOM_BYTES = 4096;
