import { createHash } from "node:crypto";
import type { Hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Fault } from "./messages.ts";
import { decodeBase64 } from "./metadata.ts";

export const CHECKSUM_ALGORITHMS = ["sha1", "sha256", "sha512", "md5", "crc32"] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

/** What the content of one request has to hash to: told at the start, or to be told in the trailers. */
export type ChecksumDemand =
  | { readonly when: "known"; readonly sums: readonly Checksum[] }
  | { readonly when: "trailer" };

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm;
  readonly digest: Uint8Array;
}

/** tus 1.0, Checksum: the algorithm, one space, the digest in base64. Of several, each has to match. */
export function parseUploadChecksum(field: string): readonly Checksum[] | Fault {
  const sums: Checksum[] = [];
  for (const part of field.split(",")) {
    const [name, value, ...more] = part.trim().split(" ");
    if (name === undefined || name === "" || value === undefined || more.length > 0) {
      return { fault: "malformed", why: "Upload-Checksum is an algorithm, a space and a digest in base64" };
    }
    const algorithm = CHECKSUM_ALGORITHMS.find((one) => one === name.toLowerCase());
    if (algorithm === undefined) return { fault: "checksum-algorithm" };
    const digest = decodeBase64(value);
    if (digest === undefined || digest.length !== CHECKSUM_BYTES[algorithm]) {
      return {
        fault: "malformed",
        why: `the digest in Upload-Checksum is not that of ${algorithm} in base64`,
      };
    }
    sums.push({ algorithm, digest });
  }
  return sums;
}

/** Hashes content while it passes, with the algorithms asked for, or with all when only the trailers will tell. */
export class ChecksumMeter {
  readonly #hashes = new Map<Exclude<ChecksumAlgorithm, "crc32">, Hash>();
  #crc: number | undefined;

  constructor(demand: ChecksumDemand) {
    const wanted = demand.when === "known" ? demand.sums.map((sum) => sum.algorithm) : CHECKSUM_ALGORITHMS;
    for (const algorithm of wanted) {
      if (algorithm === "crc32") this.#crc = 0;
      else this.#hashes.set(algorithm, createHash(algorithm));
    }
  }

  update(bytes: Uint8Array): void {
    for (const hash of this.#hashes.values()) hash.update(bytes);
    if (this.#crc !== undefined) this.#crc = crc32(bytes, this.#crc);
  }

  matches(sums: readonly Checksum[]): boolean {
    const reached = new Map<ChecksumAlgorithm, Uint8Array>();
    for (const [algorithm, hash] of this.#hashes) reached.set(algorithm, hash.digest());
    if (this.#crc !== undefined) {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(this.#crc);
      reached.set("crc32", bytes);
    }
    return sums.every(
      (sum) => Buffer.compare(reached.get(sum.algorithm) ?? Buffer.alloc(0), sum.digest) === 0,
    );
  }
}

const CHECKSUM_BYTES: Readonly<Record<ChecksumAlgorithm, number>> = {
  sha1: 20,
  sha256: 32,
  sha512: 64,
  md5: 16,
  crc32: 4,
};
