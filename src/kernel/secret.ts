import * as crypto from "node:crypto";
import { inspect } from "node:util";

/** The SHA-256 of a secret behind its shard letter: what a store may hold and look up by. 44 base64url characters. */
export type CredentialKey = string & { readonly __brand: "CredentialKey" };

/** The SHA-256 of a secret, each of its 32 bytes a character: what a cache looks a key up by, made faster than the key. */
export type SecretDigest = string & { readonly __brand: "SecretDigest" };

/** A session's public name: 20 characters of 0-9 a-z, safe to log, list and type. The first two carry the shard. */
export type Handle = string & { readonly __brand: "Handle" };

/** A session with its principal, index and journal lives in one of this many shards, so that one shard is one transaction. */
export const SHARDS = 64;

/** Characters of a secret: 32 bytes as base64url. */
export const SECRET_LENGTH = 43;

/** A value that prints as `[secret]` everywhere; `reveal()` is for the one place that puts it on the wire. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  static {
    Object.defineProperty(Secret.prototype, inspect.custom, { value: () => "[secret]" });
  }
}

/** A fresh secret: 250 random bits behind the shard's letter. */
export function mintSecret(shard: number): Secret {
  return new Secret(BASE64URL.charAt(shard) + randomBytes(32).toString("base64url").slice(1));
}

/** Presented text to the key it is stored under; `undefined` when it cannot be a secret of ours. */
export function credentialKey(presented: string): CredentialKey | undefined {
  if (presented.length !== SECRET_LENGTH) return undefined;
  return (presented.charAt(0) + sha256(presented, "base64url")) as CredentialKey;
}

export function secretDigest(presented: string): SecretDigest | undefined {
  return presented.length === SECRET_LENGTH ? (sha256(presented, "binary") as SecretDigest) : undefined;
}

/** The digest behind a key's shard letter; `undefined` when it is no key. */
export function digestOfKey(key: CredentialKey): SecretDigest | undefined {
  if (key.length !== KEY_LENGTH) return undefined;
  const digest = Buffer.from(key.slice(1), "base64url").toString("latin1");
  return digest.length === DIGEST_LENGTH ? (digest as SecretDigest) : undefined;
}

/** A fresh handle in `shard`: 90 random bits. */
export function mintHandle(shard: number): Handle {
  const from = draw(HANDLE_LENGTH);
  pool[from] = shard >> 5;
  pool[from + 1] = shard & 31;
  for (let at = from; at < from + HANDLE_LENGTH; at++) pool[at] = BASE32.charCodeAt((pool[at] ?? 0) & 31);
  const text = pool.toString("latin1", from, from + HANDLE_LENGTH);
  pool.fill(0, from, from + HANDLE_LENGTH);
  return text as Handle;
}

/** `text` as a handle, or `undefined` when it cannot be one. */
export function parseHandle(text: string): Handle | undefined {
  return /^[01][0-9a-hjkmnp-tv-z]{19}$/.test(text) ? (text as Handle) : undefined;
}

export function shardOfHandle(handle: Handle): number {
  return (BASE32.indexOf(handle.charAt(0)) << 5) | BASE32.indexOf(handle.charAt(1));
}

/** The shard a key belongs to; -1 when its first character is none of ours, so that it can only be absent. */
export function shardOfKey(key: CredentialKey): number {
  return BASE64URL.indexOf(key.charAt(0));
}

/** Where everything of a principal lives; without one, a random shard. */
export function shardOfPrincipal(principal: string | undefined): number {
  if (principal === undefined) return (pool[draw(1)] ?? 0) % SHARDS;
  return (crypto.createHash("sha256").update(principal).digest()[0] ?? 0) % SHARDS;
}

const HANDLE_LENGTH = 20;
const KEY_LENGTH = 44;
const DIGEST_LENGTH = 32;
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** Crockford's alphabet: no i, l, o, u, so that a handle survives being read aloud. */
const BASE32 = "0123456789abcdefghjkmnpqrstvwxyz";

/** `crypto.hash` (Node 20.12 and later) takes a third of the time of `createHash`. */
const sha256: (text: string, as: "base64url" | "binary") => string =
  typeof crypto.hash === "function"
    ? (text, as) => crypto.hash("sha256", text, as)
    : (text, as) => crypto.createHash("sha256").update(text).digest(as);

/** Random bytes come from a pool filled 4 KiB at a time; what was handed out is overwritten at once. */
const pool = Buffer.alloc(4096);
let used = pool.length;

function randomBytes(size: number): Buffer {
  const from = draw(size);
  const bytes = Buffer.from(pool.subarray(from, from + size));
  pool.fill(0, from, from + size);
  return bytes;
}

/** Where in the pool `size` fresh random bytes begin; whoever drew them overwrites them. */
function draw(size: number): number {
  if (used + size > pool.length) {
    crypto.randomFillSync(pool);
    used = 0;
  }
  used += size;
  return used - size;
}
