import type { Decoded, Fault } from "../../../wire/index.ts";
import { fault, isFault, Reader, Writer } from "../../../wire/index.ts";
import type { NetbiosName } from "./name.ts";
import { readName, writeName } from "./name.ts";

/** A packet of the session service (RFC 1002 §4.3). */
export type SessionPacket =
  | { readonly type: "session-message"; readonly payload: Buffer }
  | { readonly type: "session-request"; readonly called: NetbiosName; readonly calling: NetbiosName }
  | { readonly type: "positive-response" }
  | { readonly type: "negative-response"; readonly code: number }
  | { readonly type: "retarget-response"; readonly address: string; readonly port: number }
  | { readonly type: "keepalive" };

/** RFC 1002 §4.3.1. */
export const PACKET_TYPE = {
  message: 0x00,
  request: 0x81,
  positive: 0x82,
  negative: 0x83,
  retarget: 0x84,
  keepalive: 0x85,
} as const;

/** Why a session was refused (RFC 1002 §4.3.4). */
export const NEGATIVE = {
  notListeningOnCalledName: 0x80,
  notListeningForCallingName: 0x81,
  calledNameNotPresent: 0x82,
  insufficientResources: 0x83,
  unspecified: 0x8f,
} as const;

/** The code in words; for one that RFC 1002 does not list, its number. */
export function negativeText(code: number): string {
  return NEGATIVE_TEXT.get(code) ?? `unlisted error 0x${code.toString(16).padStart(2, "0")}`;
}

/**
 * How long a message may say it is. 17 bits are RFC 1002 §4.3.1; 24 bits are what SMB hosts use on port 445 and, with
 * large reads, whoever relays them. Control packets are short either way.
 */
export type LengthBits = 17 | 24;

export const HEADER_BYTES = 4;
export const KEEPALIVE: Buffer = Buffer.from([PACKET_TYPE.keepalive, 0, 0, 0]);

export interface SessionHeader {
  readonly type: number;
  readonly length: number;
}

/**
 * The header at `at`, of which four bytes must be there.
 *
 *      0                   1                   2                   3
 *     |     TYPE      |   0 0 0 0 0 0 0 E     |            LENGTH             |
 *
 * E is bit 16 of the length; with 24 bits the whole second byte is.
 */
export function readHeader(bytes: Buffer, at: number, bits: LengthBits): SessionHeader | Fault {
  const type = bytes[at] ?? 0;
  const length = bytes.readUIntBE(at + 1, 3);
  if (type === PACKET_TYPE.message) {
    if (bits === 17 && length > MAX_17)
      return fault("too-large", at + 1, "a message length of more than 17 bits");
    return { type, length };
  }
  const range = CONTROL_LENGTHS.get(type);
  if (range === undefined) return fault("malformed", at, `no session packet has type 0x${type.toString(16)}`);
  if (length < range.from || length > range.to) {
    return fault(length > range.to ? "too-large" : "malformed", at + 1, `a length of ${length} for its type`);
  }
  return { type, length };
}

/** The packet at the front of a stream; `undefined` when it is not all there. */
export function decodeSessionPacket(
  bytes: Buffer,
  bits: LengthBits,
  maxMessageBytes: number,
): Decoded<SessionPacket> {
  // A wrong type is known from its first byte: no reason to wait for more.
  const type = bytes[0];
  if (type !== undefined && type !== PACKET_TYPE.message && !CONTROL_LENGTHS.has(type)) {
    return fault("malformed", 0, `no session packet has type 0x${type.toString(16)}`);
  }
  if (bytes.length < HEADER_BYTES) return undefined;
  const header = readHeader(bytes, 0, bits);
  if (isFault(header)) return header;
  if (header.type === PACKET_TYPE.message && header.length > maxMessageBytes) {
    return fault("too-large", 1, `a message of ${header.length} bytes, over the limit of ${maxMessageBytes}`);
  }
  const size = HEADER_BYTES + header.length;
  if (bytes.length < size) return undefined;
  const message = decodeBody(header.type, new Reader(bytes, HEADER_BYTES, size));
  return isFault(message) ? message : { message, size };
}

/** @returns the packet's bytes. A message's payload is copied; `encodeMessageHeader` spares that. */
export function encodeSessionPacket(packet: SessionPacket): Buffer {
  const body = new Writer(80);
  if (packet.type === "session-message") body.bytes(packet.payload);
  if (packet.type === "session-request") {
    writeName(body, packet.called);
    writeName(body, packet.calling);
  }
  if (packet.type === "negative-response") body.u8(packet.code);
  if (packet.type === "retarget-response") {
    for (const part of packet.address.split(".")) body.u8(Number(part));
    body.u16(packet.port);
  }
  const bytes = body.finish();
  return Buffer.concat([encodeHeader(TYPE_OF[packet.type], bytes.length), bytes]);
}

export function encodeMessageHeader(length: number): Buffer {
  return encodeHeader(PACKET_TYPE.message, length);
}

function encodeHeader(type: number, length: number): Buffer {
  return new Writer(HEADER_BYTES).u8(type).u24(length).finish();
}

function decodeBody(type: number, reader: Reader): SessionPacket | Fault {
  switch (type) {
    case PACKET_TYPE.message:
      return { type: "session-message", payload: reader.rest() };
    case PACKET_TYPE.request:
      return decodeRequest(reader);
    case PACKET_TYPE.positive:
      return { type: "positive-response" };
    case PACKET_TYPE.negative:
      return { type: "negative-response", code: reader.u8() };
    case PACKET_TYPE.retarget:
      // RFC 1002 §4.3.5: the address and port of the process to go to.
      return { type: "retarget-response", address: [...reader.take(4)].join("."), port: reader.u16() };
    default:
      return { type: "keepalive" };
  }
}

/** RFC 1002 §4.3.2: called name, calling name, nothing behind them. */
function decodeRequest(reader: Reader): SessionPacket | Fault {
  const called = readName(reader, false);
  if (isFault(called)) return called;
  const calling = readName(reader, false);
  if (isFault(calling)) return calling;
  if (reader.remaining > 0) return fault("malformed", reader.at, "bytes behind the calling name");
  return { type: "session-request", called, calling };
}

export const MAX_17 = 0x1ffff;
export const MAX_24 = 0xffffff;

/** A name is 34 bytes without a scope and at most 255 with one. */
const CONTROL_LENGTHS: ReadonlyMap<number, { readonly from: number; readonly to: number }> = new Map([
  [PACKET_TYPE.request, { from: 68, to: 510 }],
  [PACKET_TYPE.positive, { from: 0, to: 0 }],
  [PACKET_TYPE.negative, { from: 1, to: 1 }],
  [PACKET_TYPE.retarget, { from: 6, to: 6 }],
  [PACKET_TYPE.keepalive, { from: 0, to: 0 }],
]);

const TYPE_OF: Readonly<Record<SessionPacket["type"], number>> = {
  "session-message": PACKET_TYPE.message,
  "session-request": PACKET_TYPE.request,
  "positive-response": PACKET_TYPE.positive,
  "negative-response": PACKET_TYPE.negative,
  "retarget-response": PACKET_TYPE.retarget,
  keepalive: PACKET_TYPE.keepalive,
};

const NEGATIVE_TEXT: ReadonlyMap<number, string> = new Map<number, string>([
  [NEGATIVE.notListeningOnCalledName, "not listening on called name"],
  [NEGATIVE.notListeningForCallingName, "not listening for calling name"],
  [NEGATIVE.calledNameNotPresent, "called name not present"],
  [NEGATIVE.insufficientResources, "called name present, but insufficient resources"],
  [NEGATIVE.unspecified, "unspecified error"],
]);
