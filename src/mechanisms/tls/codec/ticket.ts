import type { Cipher, Decipher } from "node:crypto";
import { createCipheriv, createDecipheriv, createHmac, timingSafeEqual } from "node:crypto";

/** What tickets are made with in one epoch of one trust domain. RFC 5077 §4 recommends the form. */
export interface TicketKeys {
  /** 16 bytes each. */
  readonly name: Buffer;
  readonly hmac: Buffer;
  readonly aes: Buffer;
  /** Hides what the ticket's IV carries. */
  readonly iv: Buffer;
}

/** Which session a ticket continues: what we put into its IV. */
export interface Tag {
  /** A kernel handle: 20 characters, here 12 bytes. */
  readonly handle: string;
  /** When its first handshake was, in whole hours since 1970. */
  readonly startedHour: number;
}

export interface TicketParts {
  readonly name: Buffer;
  readonly iv: Buffer;
  /** Also what tells one ticket from every other. */
  readonly mac: Buffer;
}

/** The ticket as OpenSSL writes it: name, IV, state under AES-128-CBC, HMAC-SHA256 over all before it. */
export function ticketParts(ticket: Buffer): TicketParts | undefined {
  if (ticket.length < NAME + IV + AES_BLOCK + MAC) return undefined;
  return {
    name: ticket.subarray(0, NAME),
    iv: ticket.subarray(NAME, NAME + IV),
    mac: ticket.subarray(ticket.length - MAC),
  };
}

export function isAuthentic(ticket: Buffer, keys: TicketKeys): boolean {
  const [body, mac] = [ticket.subarray(0, -MAC), ticket.subarray(-MAC)];
  return timingSafeEqual(createHmac("sha256", keys.hmac).update(body).digest(), mac);
}

/**
 * The IV of a new ticket: handle, hour and a counter as one AES block. To whoever has not the key it is as good as random,
 * so two tickets of one session cannot be seen to belong together.
 */
export function sealTag(tag: Tag, count: number, keys: TicketKeys): Buffer {
  const block = Buffer.alloc(IV);
  packHandle(tag.handle, block);
  block.writeUInt16BE(tag.startedHour & 0xffff, 12);
  block.writeUInt16BE(count & 0xffff, 14);
  return blockCipher(keys).seal.update(block);
}

/** `now` tells which 7 years the hour is in. */
export function openTag(iv: Buffer, keys: TicketKeys, now: number): Tag {
  const block = blockCipher(keys).open.update(iv);
  const hourNow = Math.floor(now / HOUR_MS);
  // An hour ahead is a neighbour's clock; everything else lies behind.
  const ago = (hourNow + 1 - block.readUInt16BE(12)) & 0xffff;
  return { handle: unpackHandle(block), startedHour: hourNow + 1 - ago };
}

export function hourOf(now: number): number {
  return Math.floor(now / HOUR_MS);
}

/** One block at a time, without padding or chaining, so that one cipher serves for all of a key's blocks. */
function blockCipher(keys: TicketKeys): { seal: Cipher; open: Decipher } {
  let pair = ciphers.get(keys);
  if (pair === undefined) {
    pair = {
      seal: createCipheriv("aes-128-ecb", keys.iv, null).setAutoPadding(false),
      open: createDecipheriv("aes-128-ecb", keys.iv, null).setAutoPadding(false),
    };
    ciphers.set(keys, pair);
  }
  return pair;
}

const ciphers = new WeakMap<TicketKeys, { seal: Cipher; open: Decipher }>();

/** 6 bits for the shard in two characters, then 18 characters of 5 bits. */
function packHandle(handle: string, into: Buffer): void {
  let bits = BigInt((digit(handle, 0) << 5) | digit(handle, 1));
  for (let i = 2; i < HANDLE_LENGTH; i++) bits = (bits << 5n) | BigInt(digit(handle, i));
  into.writeBigUInt64BE(bits >> 32n, 0);
  into.writeUInt32BE(Number(bits & 0xffffffffn), 8);
}

function unpackHandle(block: Buffer): string {
  let bits = (block.readBigUInt64BE(0) << 32n) | BigInt(block.readUInt32BE(8));
  let text = "";
  for (let i = HANDLE_LENGTH - 1; i > 1; i--) {
    text = BASE32.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return BASE32.charAt(Number(bits >> 5n)) + BASE32.charAt(Number(bits & 31n)) + text;
}

function digit(handle: string, at: number): number {
  return BASE32.indexOf(handle.charAt(at));
}

const NAME = 16;
const IV = 16;
const MAC = 32;
const AES_BLOCK = 16;
const HANDLE_LENGTH = 20;
const HOUR_MS = 3_600_000;
const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";
