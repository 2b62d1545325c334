import type { Fault, Reader, Writer } from "../../../wire/index.ts";
import { fault, isFault, Reader as ByteReader } from "../../../wire/index.ts";

/** A NetBIOS name: fifteen characters, a byte that says what the name is for, and the scope it lives in (RFC 1001 §14). */
export interface NetbiosName {
  /** Without the padding. One character is one byte (latin1). `*` alone stands for any name. */
  readonly name: string;
  /** 0x00 workstation, 0x20 file server, 0x1b to 0x1e browsing, … */
  readonly suffix: number;
  /** Labels joined by dots; empty for the scope nearly everybody uses. */
  readonly scope: string;
}

/** The suffix of a file server's name. */
export const FILE_SERVER = 0x20;
/** The suffix of a workstation's name: what a client calls itself. */
export const WORKSTATION = 0x00;
/** What a client asks for when it knows an address and no name. */
export const ANY_SERVER = "*SMBSERVER";
/** The name of a node status query to whoever is there. Padded with NUL, not with spaces (RFC 1001 §17.1.4). */
export const WILDCARD: NetbiosName = { name: "*", suffix: 0, scope: "" };

/**
 * `FILESRV`, `FILESRV<20>` or `FILESRV<20>.scope.example` as a name, in upper case as hosts write them; `undefined` when
 * it cannot be one. Without a suffix it is `defaultSuffix`.
 */
export function parseName(text: string, defaultSuffix: number = FILE_SERVER): NetbiosName | undefined {
  const parts = /^([^<>]{1,15}?)(?:<([0-9a-f]{2})>(?:\.(.+))?)?$/iu.exec(text);
  const name = parts?.[1]?.toUpperCase().trimEnd() ?? "";
  // Upper case may be longer (ß) or leave latin1 (ÿ).
  if (name === "" || name.length > NAME_BYTES || !isLatin1(name)) return undefined;
  const suffix = parts?.[2] === undefined ? defaultSuffix : Number.parseInt(parts[2], 16);
  const scope = parts?.[3] ?? "";
  return isScope(scope) ? { name, suffix, scope } : undefined;
}

/** `FILESRV<20>`, with `.scope` behind it if there is one. Safe to log: what does not print is shown as `\xNN`. */
export function formatName(name: NetbiosName): string {
  const suffix = name.suffix.toString(16).padStart(2, "0");
  return printable(`${name.name}<${suffix}>${name.scope === "" ? "" : `.${name.scope}`}`);
}

/** One text for names that are equal. Case counts in the name (RFC 1001 §5.2) and not in the scope, a domain name. */
export function nameKey(name: NetbiosName): string {
  return `${name.name}\0${name.suffix}\0${name.scope.toLowerCase()}`;
}

/**
 * Writes the second-level encoding: a label of 32 letters, two for each byte, then the scope's labels (RFC 1002 §4.1).
 * Names come from `parseName` or off the wire and so fit.
 */
export function writeName(writer: Writer, name: NetbiosName): void {
  const padding = name.name === "*" ? 0x00 : 0x20;
  const bytes = Buffer.alloc(NAME_BYTES + 1, padding);
  bytes.write(name.name, 0, NAME_BYTES, "latin1");
  bytes[NAME_BYTES] = name.suffix;
  writer.u8(ENCODED_BYTES);
  for (const byte of bytes) writer.u8(LETTER_A + (byte >> 4)).u8(LETTER_A + (byte & 0x0f));
  writeLabels(writer, name.scope);
}

/** Writes dotted text as labels, with the empty one that ends them. */
export function writeLabels(writer: Writer, dotted: string): void {
  for (const label of dotted === "" ? [] : dotted.split(".")) writer.u8(label.length).text(label, "latin1");
  writer.u8(0);
}

/** Reads one name. `pointers`: label string pointers are allowed (name service packets, RFC 1002 §4.1). */
export function readName(reader: Reader, pointers: boolean): NetbiosName | Fault {
  const at = reader.at;
  const labels = readLabels(reader, pointers);
  if (isFault(labels)) return labels;
  return nameOfLabels(labels) ?? fault("malformed", at, "the first label is not 32 letters from A to P");
}

/** The name in `labels`, or `undefined` when they are a plain domain name. */
export function nameOfLabels(labels: readonly string[]): NetbiosName | undefined {
  const [first = "", ...scope] = labels;
  if (first.length !== ENCODED_BYTES) return undefined;
  const bytes = Buffer.alloc(NAME_BYTES + 1);
  for (let index = 0; index < bytes.length; index++) {
    const high = first.charCodeAt(index * 2) - LETTER_A;
    const low = first.charCodeAt(index * 2 + 1) - LETTER_A;
    if (high < 0 || high > 15 || low < 0 || low > 15) return undefined;
    bytes[index] = (high << 4) | low;
  }
  const padded = bytes.toString("latin1", 0, NAME_BYTES);
  const name = padded.startsWith("*\0") ? padded.replace(/\0+$/u, "") : padded.replace(/ +$/u, "");
  return { name, suffix: bytes[NAME_BYTES] ?? 0, scope: scope.join(".") };
}

/** Reads labels up to the empty one. RFC 1002 §4.1: 63 bytes a label, 255 in all, pointers in the top two bits. */
export function readLabels(reader: Reader, pointers: boolean): string[] | Fault {
  const labels: string[] = [];
  let source = reader;
  let total = 1;
  // Every jump goes further to the front, so there is no loop and no need to count.
  let before = reader.at;
  for (;;) {
    const at = source.at;
    const length = source.u8();
    if (source.short) return fault("malformed", at, "the name ends before its last label");
    if (length === 0) return labels;
    if ((length & POINTER) === POINTER) {
      const target = ((length & ~POINTER) << 8) | source.u8();
      if (source.short || !pointers || target >= before) {
        return fault(
          "malformed",
          at,
          "a label string pointer that is cut off, out of place or not backwards",
        );
      }
      before = target;
      source = new ByteReader(reader.bytes, target, reader.end);
      continue;
    }
    if (length > LABEL_BYTES) return fault("malformed", at, "a label with reserved bits set");
    const label = source.take(length).toString("latin1");
    if (source.short) return fault("malformed", at, "the name ends within a label");
    total += length + 1;
    if (total > TOTAL_BYTES) return fault("too-large", at, "a name of more than 255 bytes");
    if (label.includes(".")) return fault("malformed", at, "a dot within a label");
    labels.push(label);
  }
}

/** True when `scope` can be written: labels of 1 to 63 bytes, and room for the name before them. */
function isScope(scope: string): boolean {
  if (scope === "") return true;
  const fits = scope
    .split(".")
    .every((label) => label.length > 0 && label.length <= LABEL_BYTES && isLatin1(label));
  return fits && scope.length + 1 + ENCODED_BYTES + 2 <= TOTAL_BYTES;
}

/** `text` with everything that does not print in ASCII shown as `\xNN`: names come from strangers and go into logs. */
export function printable(text: string): string {
  return text.replace(
    /[^\x20-\x7e]/gu,
    (one) => `\\x${(one.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`,
  );
}

const NAME_BYTES = 15;
const ENCODED_BYTES = 32;
const LABEL_BYTES = 63;
const TOTAL_BYTES = 255;
const POINTER = 0xc0;
const LETTER_A = 0x41;

function isLatin1(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0xff) return false;
  return true;
}
