import type { Fault } from "../../../wire/index.ts";
import { fault, Reader } from "../../../wire/index.ts";

/** What a client says first, as far as resumption turns on it. Buffers are views on what was decoded. */
export interface ClientHello {
  /** The session it asks for up to TLS 1.2; in 1.3 any 32 bytes, or none. */
  readonly sessionId: Buffer;
  /** Lower case, as it is compared. */
  readonly serverName: string | undefined;
  /** RFC 5077: `undefined` when the client knows no tickets, empty when it has none yet. */
  readonly ticket: Buffer | undefined;
  /** RFC 8446 §4.2.11: what it can resume in 1.3, the first being the one it would rather. */
  readonly identities: readonly Buffer[];
  /** Offers TLS 1.3 at all. */
  readonly offersTls13: boolean;
  /** RFC 8446 §4.2.9: takes tickets in 1.3, because it can resume with a fresh key exchange. */
  readonly resumesTls13: boolean;
}

/**
 * The ClientHello at the front of a stream, which may be cut into records and packets anywhere. `"incomplete"` asks for
 * more bytes.
 */
export function decodeClientHello(bytes: Buffer, limit: number): ClientHello | Fault | "incomplete" {
  const message = handshakeMessage(bytes, limit);
  return Buffer.isBuffer(message) ? decodeMessage(message) : message;
}

/** RFC 8446 §5.1: the handshake message, put together from as many records as it takes. */
function handshakeMessage(bytes: Buffer, limit: number): Buffer | Fault | "incomplete" {
  const whole = inOneRecord(bytes);
  if (whole !== undefined && whole.length <= limit) return whole;
  const parts: Buffer[] = [];
  let [at, held, wanted] = [0, 0, Infinity];
  while (held < wanted) {
    const type = bytes[at];
    if (type !== undefined && type !== HANDSHAKE) return fault("unsupported", at, "no handshake record");
    if (bytes.length - at < RECORD_HEADER) return "incomplete";
    if (bytes[at + 1] !== 3) return fault("malformed", at + 1, "no version of TLS");
    const length = bytes.readUInt16BE(at + 3);
    // RFC 8446 §5.1: handshake records are never empty, and never longer than 2^14.
    if (length === 0 || length > MAX_RECORD) return fault("malformed", at + 3, "length of a record");
    const from = at + RECORD_HEADER;
    const part = bytes.subarray(from, from + length);
    parts.push(part);
    held += part.length;
    if (wanted === Infinity && held >= MESSAGE_HEADER) {
      const head = Buffer.concat(parts);
      if (head[0] !== CLIENT_HELLO) return fault("unsupported", from, "no ClientHello");
      wanted = MESSAGE_HEADER + head.readUIntBE(1, 3);
      if (wanted > limit) return fault("too-large", from + 1, `a ClientHello of ${wanted} bytes`);
    }
    if (held < wanted && part.length < length) return "incomplete";
    at = from + length;
  }
  return Buffer.concat(parts).subarray(0, wanted);
}

/** How nearly all of them come: as a view, without a copy. */
function inOneRecord(bytes: Buffer): Buffer | undefined {
  if (bytes.length < RECORD_HEADER + MESSAGE_HEADER) return undefined;
  if (bytes[0] !== HANDSHAKE || bytes[1] !== 3 || bytes[RECORD_HEADER] !== CLIENT_HELLO) return undefined;
  const [record, message] = [bytes.readUInt16BE(3), bytes.readUIntBE(RECORD_HEADER + 1, 3)];
  if (record > MAX_RECORD || record !== MESSAGE_HEADER + message) return undefined;
  return bytes.length < RECORD_HEADER + record
    ? undefined
    : bytes.subarray(RECORD_HEADER, RECORD_HEADER + record);
}

function decodeMessage(message: Buffer): ClientHello | Fault {
  const reader = new Reader(message, MESSAGE_HEADER);
  reader.skip(2 + 32);
  const sessionId = reader.take(reader.u8());
  reader.skip(reader.u16());
  reader.skip(reader.u8());
  if (reader.short || sessionId.length > 32) return fault("malformed", reader.at, "cut short");
  const extensions = reader.remaining === 0 ? EMPTY : reader.take(reader.u16());
  if (reader.short || reader.remaining > 0) return fault("malformed", reader.at, "length of the extensions");
  return decodeExtensions(sessionId, new Reader(extensions));
}

function decodeExtensions(sessionId: Buffer, all: Reader): ClientHello | Fault {
  let serverName: string | undefined;
  let ticket: Buffer | undefined;
  let identities: readonly Buffer[] = [];
  let [offersTls13, resumesTls13] = [false, false];
  while (all.remaining > 0) {
    const [at, type] = [all.at, all.u16()];
    const body = new Reader(all.take(all.u16()));
    if (all.short) return fault("malformed", at, "an extension is cut short");
    if (type === EXTENSION.serverName) serverName = hostName(body);
    else if (type === EXTENSION.sessionTicket) ticket = body.rest();
    else if (type === EXTENSION.supportedVersions) offersTls13 = hasPair(body.take(body.u8()), TLS_1_3);
    else if (type === EXTENSION.pskModes) resumesTls13 = body.take(body.u8()).includes(PSK_DHE_KE);
    else if (type === EXTENSION.preSharedKey) identities = pskIdentities(body);
    if (body.short) return fault("malformed", at, `extension ${type}`);
  }
  return { sessionId, serverName, ticket, identities, offersTls13, resumesTls13 };
}

/** RFC 6066 §3: the first host name; other kinds of names were never defined. */
function hostName(body: Reader): string | undefined {
  const list = new Reader(body.take(body.u16()));
  while (list.remaining > 0) {
    const type = list.u8();
    const name = list.take(list.u16());
    if (list.short) break;
    if (type === 0 && name.length > 0) return name.toString("latin1").toLowerCase();
  }
  return undefined;
}

function pskIdentities(body: Reader): Buffer[] {
  const list = new Reader(body.take(body.u16()));
  const identities: Buffer[] = [];
  while (list.remaining > 0) {
    const identity = list.take(list.u16());
    list.skip(4);
    if (list.short) break;
    identities.push(identity);
  }
  return identities;
}

function hasPair(bytes: Buffer, wanted: number): boolean {
  for (let at = 0; at + 1 < bytes.length; at += 2) if (bytes.readUInt16BE(at) === wanted) return true;
  return false;
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
const MESSAGE_HEADER = 4;
const MAX_RECORD = 2 ** 14;
const TLS_1_3 = 0x0304;
const PSK_DHE_KE = 1;
const EXTENSION = {
  serverName: 0,
  sessionTicket: 35,
  preSharedKey: 41,
  supportedVersions: 43,
  pskModes: 45,
} as const;
const EMPTY = Buffer.alloc(0);
