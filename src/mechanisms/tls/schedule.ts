import { hkdfSync } from "node:crypto";
import type { TicketKeys } from "./codec/ticket.ts";

/** All that is made with in one epoch of one trust domain. */
export interface EpochKeys extends TicketKeys {
  readonly epoch: number;
  /** AES-256-GCM, for sessions that the store keeps. */
  readonly cache: Buffer;
}

/** Which epoch an instant is in, counted from 1970 so that nobody has to agree on a beginning. */
export function epochOf(now: number, epochMs: number): number {
  return Math.floor(now / epochMs);
}

/**
 * The keys of an epoch: HKDF-SHA256 with the epoch in the info, so that no epoch, the first one included, ever works with
 * keys that were not derived (GnuTLS did, CVE-2020-13777).
 */
export function deriveKeys(root: Buffer, cluster: string, domain: string, epoch: number): EpochKeys {
  const salt = Buffer.from(JSON.stringify([cluster, domain]));
  const info = Buffer.alloc(4 + 8, "stek");
  info.writeBigInt64BE(BigInt(epoch), 4);
  const bytes = Buffer.from(hkdfSync("sha256", root, salt, info, 16 * 4 + 32));
  return {
    epoch,
    name: bytes.subarray(0, 16),
    hmac: bytes.subarray(16, 32),
    aes: bytes.subarray(32, 48),
    iv: bytes.subarray(48, 64),
    cache: bytes.subarray(64, 96),
  };
}

/** The next root of a ratchet; from it the one before cannot be found. */
export function nextRoot(root: Buffer): Buffer {
  return Buffer.from(hkdfSync("sha256", root, "", "holdfast tls ratchet", 32));
}

/** What shared roots are sealed with in the store. */
export function wrappingKey(secret: Buffer, cluster: string): Buffer {
  return Buffer.from(hkdfSync("sha256", secret, cluster, "holdfast tls wrap", 32));
}
