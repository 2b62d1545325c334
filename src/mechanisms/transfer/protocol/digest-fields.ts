import { decodeBase64 } from "./metadata.ts";

/** RFC 9530: Content-Digest, Repr-Digest and what a peer prefers. The two algorithms that are active there. */
export type DigestAlgorithm = "sha-256" | "sha-512";

export type Digests = Readonly<Partial<Record<DigestAlgorithm, Uint8Array>>>;

export interface Preference {
  readonly algorithm: DigestAlgorithm;
  /** 1 to 10; what is not wanted at all (0) is left out. */
  readonly weight: number;
}

/**
 * A Dictionary of Byte Sequences. Algorithms that are not spoken here are passed over, as RFC 9530 §2 has it;
 * `undefined` when the field is broken or a digest has the wrong length.
 */
export function parseDigests(field: string): Digests | undefined {
  const digests: Partial<Record<DigestAlgorithm, Uint8Array>> = {};
  for (const member of field.split(",")) {
    const match = /^\s*([a-z*][a-z0-9_.*-]*)\s*=\s*:([A-Za-z0-9+/=]*):\s*(?:;.*)?$/.exec(member);
    if (match?.[1] === undefined || match[2] === undefined) return undefined;
    const algorithm = match[1];
    if (algorithm !== "sha-256" && algorithm !== "sha-512") continue;
    const bytes = decodeBase64(match[2]);
    if (bytes === undefined || bytes.length !== DIGEST_BYTES[algorithm]) return undefined;
    digests[algorithm] = bytes;
  }
  return digests;
}

export function serializeDigest(algorithm: DigestAlgorithm, digest: Uint8Array): string {
  return `${algorithm}=:${Buffer.from(digest).toString("base64")}:`;
}

/** RFC 9530 §4: a Dictionary of Integers from 0 to 10. Most wanted first; broken fields count as not sent. */
export function parsePreferences(field: string | undefined): readonly Preference[] | undefined {
  if (field === undefined) return undefined;
  const wanted: Preference[] = [];
  for (const member of field.split(",")) {
    const match = /^\s*([a-z*][a-z0-9_.*-]*)\s*=\s*(\d{1,2})\s*$/.exec(member);
    if (match?.[1] === undefined || Number(match[2]) > 10) return undefined;
    if (match[1] !== "sha-256" && match[1] !== "sha-512") continue;
    if (Number(match[2]) > 0) wanted.push({ algorithm: match[1], weight: Number(match[2]) });
  }
  return wanted.sort((a, b) => b.weight - a.weight);
}

const DIGEST_BYTES: Readonly<Record<DigestAlgorithm, number>> = { "sha-256": 32, "sha-512": 64 };
