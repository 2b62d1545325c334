import type { Fault } from "./messages.ts";

/** Upload-Metadata: keys to values as bytes; a key without a value has none. */
export type Metadata = ReadonlyMap<string, Uint8Array | undefined>;

export interface MetadataLimits {
  readonly bytes: number;
  readonly keys: number;
}

/** tus 1.0, Creation: comma-separated pairs of key and base64 value; keys ASCII, not empty, unique, no space or comma. */
export function parseMetadata(field: string, limits: MetadataLimits): Metadata | Fault {
  if (field.length > limits.bytes) return { fault: "too-large", limit: limits.bytes };
  const metadata = new Map<string, Uint8Array | undefined>();
  if (field.trim() === "") return metadata;
  for (const pair of field.split(",")) {
    const [key, value, ...more] = pair.trim().split(" ");
    if (key === undefined || !/^[!-+\--~]+$/.test(key) || more.length > 0) {
      return malformed("a pair in Upload-Metadata is a key of visible ASCII, then at most one value");
    }
    if (metadata.has(key)) return malformed(`the key ${key} appears twice in Upload-Metadata`);
    const bytes = value === undefined || value === "" ? undefined : decodeBase64(value);
    if (value !== undefined && value !== "" && bytes === undefined)
      return malformed(`the value of ${key} in Upload-Metadata is not base64`);
    metadata.set(key, bytes);
    if (metadata.size > limits.keys) return malformed(`Upload-Metadata holds more than ${limits.keys} keys`);
  }
  return metadata;
}

/** The text under the first of `keys` that is there and is UTF-8. */
export function metadataText(metadata: Metadata, ...keys: readonly string[]): string | undefined {
  for (const key of keys) {
    const bytes = metadata.get(key);
    if (bytes === undefined) continue;
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      // Not text: then it is no name and no type.
    }
  }
  return undefined;
}

/** Strict base64 with padding, as RFC 4648 §4 has it; `undefined` when it is not. */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? Uint8Array.from(bytes) : undefined;
}

/**
 * A file name that a person can be shown and a file system can hold: no path, no control or bidirectional characters,
 * at most 255 bytes. What the peer calls its file is never used as a path.
 */
export function safeFileName(name: string): string | undefined {
  const last = name.split(/[/\\]/).at(-1) ?? "";
  let text = "";
  for (const character of last.normalize("NFC")) {
    if (/[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u.test(character)) continue;
    if (Buffer.byteLength(text + character) > 255) break;
    text += character;
  }
  text = text.trim();
  return text === "" || text === "." || text === ".." ? undefined : text;
}

function malformed(why: string): Fault {
  return { fault: "malformed", why };
}
