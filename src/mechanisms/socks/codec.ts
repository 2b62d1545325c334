import type { Decoded, Fault } from "../../wire/index.ts";
import { fault, Reader, Writer } from "../../wire/index.ts";
import { formatAddress, parseAddress } from "./address.ts";

/** RFC 1928 §3; 0xff says that none of the offered methods will do. */
export const METHOD = { none: 0x00, gssapi: 0x01, password: 0x02, unacceptable: 0xff } as const;

/** RFC 1928 §4, and the same numbers in SOCKS4. */
export const COMMAND = { connect: 1, bind: 2, associate: 3 } as const;
export type Command = keyof typeof COMMAND;

/** RFC 1928 §6. */
export const REPLY = {
  succeeded: 0,
  "general-failure": 1,
  "not-allowed": 2,
  "network-unreachable": 3,
  "host-unreachable": 4,
  "connection-refused": 5,
  "ttl-expired": 6,
  "command-not-supported": 7,
  "address-type-not-supported": 8,
} as const;
export type ReplyName = keyof typeof REPLY;
export type Failure = Exclude<ReplyName, "succeeded">;

/** The failures by their number. */
export const FAILURES: readonly (Failure | undefined)[] = [
  undefined,
  "general-failure",
  "not-allowed",
  "network-unreachable",
  "host-unreachable",
  "connection-refused",
  "ttl-expired",
  "command-not-supported",
  "address-type-not-supported",
];

/** The SOCKS4 protocol's own result codes. */
export const REPLY4 = { granted: 90, rejected: 91, "no-identd": 92, "user-id-mismatch": 93 } as const;

/** Where to, or where from. A host is an address in text, or a name. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface Greeting {
  readonly methods: readonly number[];
}

export interface Password {
  readonly username: string;
  readonly password: string;
}

export interface Request {
  readonly version: 4 | 5;
  readonly command: Command;
  readonly destination: Endpoint;
  /** SOCKS4 only. */
  readonly userId?: string;
}

export interface Reply {
  readonly reply: number;
  readonly bound: Endpoint;
}

export interface Datagram {
  readonly fragment: number;
  readonly endpoint: Endpoint;
  readonly payload: Buffer;
}

/** Says "nowhere": in failure replies, and by a UDP client that does not know its port yet. */
export const UNSPECIFIED: Endpoint = { host: "0.0.0.0", port: 0 };

// ── what a client sends ───────────────────────────────────────────────────────────────────────────────────────────

/** RFC 1928 §3: VER NMETHODS METHODS. */
export function decodeGreeting(bytes: Buffer): Decoded<Greeting> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== 5) return fault("unsupported", 0, `SOCKS version ${version}`);
  const methods = reader.take(reader.u8());
  return reader.short ? undefined : { message: { methods: [...methods] }, size: reader.at };
}

export function encodeGreeting(methods: readonly number[]): Buffer {
  return Buffer.from([5, methods.length, ...methods]);
}

/** RFC 1929 §2: VER ULEN UNAME PLEN PASSWD. */
export function decodePassword(bytes: Buffer): Decoded<Password> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== 1) return fault("unsupported", 0, `user/password negotiation version ${version}`);
  const username = reader.take(reader.u8());
  const password = reader.take(reader.u8());
  if (reader.short) return undefined;
  return { message: { username: username.toString(), password: password.toString() }, size: reader.at };
}

/** `undefined` when one of them is empty or longer than 255 bytes, for which RFC 1929 has no form. */
export function encodePassword({ username, password }: Password): Buffer | undefined {
  const name = Buffer.from(username);
  const word = Buffer.from(password);
  if (name.length === 0 || name.length > 255 || word.length === 0 || word.length > 255) return undefined;
  return new Writer(3 + name.length + word.length)
    .u8(1)
    .u8(name.length)
    .bytes(name)
    .u8(word.length)
    .bytes(word)
    .finish();
}

/** RFC 1928 §4: VER CMD RSV ATYP DST.ADDR DST.PORT. RSV is not looked at: some clients put other things there. */
export function decodeRequest(bytes: Buffer): Decoded<Request> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== 5) return fault("malformed", 0, `version ${version} in a SOCKS5 request`);
  const code = reader.u8();
  reader.skip(1);
  const destination = readEndpoint(reader);
  if (destination === undefined) return undefined;
  if ("fault" in destination) return destination;
  const command = commandOf(code);
  // Only after all of it is read: what is left unread when we close would turn the reply into a reset.
  if (command === undefined) return fault("unsupported", 1, `command ${code}`);
  return { message: { version: 5, command, destination }, size: reader.at };
}

/** `undefined` when the host is a name longer than 255 bytes or the port is none. */
export function encodeRequest(command: Command, destination: Endpoint): Buffer | undefined {
  const writer = new Writer(24).u8(5).u8(COMMAND[command]).u8(0);
  return writeEndpoint(writer, destination) ? writer.finish() : undefined;
}

/** SOCKS4: VN CD DSTPORT DSTIP USERID NUL; 4a, when DSTIP is 0.0.0.x and x is not 0: then a name and NUL follow. */
export function decodeRequest4(bytes: Buffer): Decoded<Request> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== 4) return fault("unsupported", 0, `SOCKS version ${version}`);
  const code = reader.u8();
  const port = reader.u16();
  const address = reader.take(4);
  if (reader.short) return undefined;
  const userId = readText(reader, "user ID");
  if (userId === undefined || typeof userId !== "string") return userId;
  let host = formatAddress(address);
  const named = address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] !== 0;
  if (named) {
    const nameAt = reader.at;
    const name = readText(reader, "name");
    if (name === undefined || typeof name !== "string") return name;
    if (!isName(name)) return fault("malformed", nameAt, "not a host name");
    host = name;
  }
  const command = commandOf(code);
  if (command === undefined || command === "associate") return fault("unsupported", 1, `command ${code}`);
  return { message: { version: 4, command, destination: { host, port }, userId }, size: reader.at };
}

/** A name goes out as SOCKS4a. `undefined` when SOCKS4 cannot say it: IPv6, a NUL, or more than 255 bytes. */
export function encodeRequest4(
  command: "connect" | "bind",
  destination: Endpoint,
  userId: string,
): Buffer | undefined {
  const address = parseAddress(destination.host);
  if (address?.length === 16 || !isPort(destination.port)) return undefined;
  const texts = address === undefined ? [userId, destination.host] : [userId];
  if (texts.some((text) => text.includes("\0") || Buffer.byteLength(text) > 255)) return undefined;
  const writer = new Writer(32).u8(4).u8(COMMAND[command]).u16(destination.port);
  writer.bytes(address ?? NAME_FOLLOWS);
  for (const text of texts) writer.text(text).u8(0);
  return writer.finish();
}

// ── what a server sends ───────────────────────────────────────────────────────────────────────────────────────────

/** RFC 1928 §3: VER METHOD. */
export function decodeChoice(bytes: Buffer): Decoded<number> {
  if (bytes[0] !== 5) return fault("unsupported", 0, `the proxy does not speak SOCKS5 (it sent ${bytes[0]})`);
  const method = bytes[1];
  return method === undefined ? undefined : { message: method, size: 2 };
}

export function encodeChoice(method: number): Buffer {
  return Buffer.from([5, method]);
}

/** RFC 1929 §2: VER STATUS; anything but 0 is a failure. Some servers put 5 in VER, so it is not looked at. */
export function decodePasswordStatus(bytes: Buffer): Decoded<boolean> {
  const status = bytes[1];
  return status === undefined ? undefined : { message: status === 0, size: 2 };
}

export function encodePasswordStatus(good: boolean): Buffer {
  return Buffer.from([1, good ? 0 : 1]);
}

/** RFC 1928 §6: VER REP RSV ATYP BND.ADDR BND.PORT. */
export function decodeReply(bytes: Buffer): Decoded<Reply> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  if (version !== 5) return fault("malformed", 0, `version ${version} in a SOCKS5 reply`);
  const reply = reader.u8();
  reader.skip(1);
  const bound = readEndpoint(reader, true);
  if (bound === undefined) return undefined;
  return "fault" in bound ? bound : { message: { reply, bound }, size: reader.at };
}

export function encodeReply(reply: ReplyName, bound: Endpoint = UNSPECIFIED): Buffer {
  const writer = new Writer(24).u8(5).u8(REPLY[reply]).u8(0);
  if (!writeEndpoint(writer, bound)) writeEndpoint(writer, UNSPECIFIED);
  return writer.finish();
}

/** SOCKS4: VN=0 CD DSTPORT DSTIP. */
export function decodeReply4(bytes: Buffer): Decoded<Reply> {
  const reader = new Reader(bytes);
  const version = reader.u8();
  // Some servers repeat the 4 of the request here.
  if (version !== 0 && version !== 4) return fault("malformed", 0, `version ${version} in a SOCKS4 reply`);
  const reply = reader.u8();
  const port = reader.u16();
  const address = reader.take(4);
  if (reader.short) return undefined;
  return { message: { reply, bound: { host: formatAddress(address), port } }, size: reader.at };
}

/** SOCKS4 has no room for an IPv6 address: it goes out as 0.0.0.0. */
export function encodeReply4(reply: keyof typeof REPLY4, bound: Endpoint = UNSPECIFIED): Buffer {
  const address = parseAddress(bound.host);
  const four = address?.length === 4 ? address : NO_ADDRESS;
  return new Writer(8).u8(0).u8(REPLY4[reply]).u16(bound.port).bytes(four).finish();
}

// ── datagrams, both ways ──────────────────────────────────────────────────────────────────────────────────────────

/** RFC 1928 §7: RSV RSV FRAG ATYP DST.ADDR DST.PORT DATA. A datagram is all there or malformed. */
export function decodeDatagram(bytes: Buffer): Datagram | Fault {
  const reader = new Reader(bytes);
  if (reader.u16() !== 0) return fault("malformed", 0, "RSV is not zero");
  const fragment = reader.u8();
  const endpoint = readEndpoint(reader);
  if (endpoint === undefined || reader.short)
    return fault("malformed", bytes.length, "the header is cut off");
  return "fault" in endpoint ? endpoint : { fragment, endpoint, payload: reader.rest() };
}

/** `undefined` when the host is a name longer than 255 bytes or the port is none. */
export function encodeDatagram(endpoint: Endpoint, payload: Uint8Array, fragment = 0): Buffer | undefined {
  const writer = new Writer(24 + payload.length).u16(0).u8(fragment);
  return writeEndpoint(writer, endpoint) ? writer.bytes(payload).finish() : undefined;
}

// ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const ATYP = { ipv4: 1, name: 3, ipv6: 4 } as const;
const NO_ADDRESS = Buffer.from([0, 0, 0, 0]);
const NAME_FOLLOWS = Buffer.from([0, 0, 0, 1]);

/** ATYP, address and port. A reply may carry an empty name: servers that do not tell where they bound send that. */
function readEndpoint(reader: Reader, inReply = false): Endpoint | Fault | undefined {
  const typeAt = reader.at;
  const type = reader.u8();
  if (reader.short) return undefined;
  if (type !== ATYP.ipv4 && type !== ATYP.ipv6 && type !== ATYP.name)
    return fault("unsupported", typeAt, `address type ${type}`);
  const size = type === ATYP.ipv4 ? 4 : type === ATYP.ipv6 ? 16 : reader.u8();
  const address = reader.take(size);
  const port = reader.u16();
  if (reader.short) return undefined;
  if (type !== ATYP.name) return { host: formatAddress(address), port };
  const host = address.toString();
  if (!isName(host) && !(inReply && size === 0)) return fault("malformed", typeAt + 2, "not a host name");
  return { host, port };
}

function writeEndpoint(writer: Writer, { host, port }: Endpoint): boolean {
  const address = parseAddress(host);
  const name = address === undefined ? Buffer.from(host) : undefined;
  if (!isPort(port) || (name !== undefined && (name.length > 255 || name.length === 0))) return false;
  if (address !== undefined) writer.u8(address.length === 4 ? ATYP.ipv4 : ATYP.ipv6).bytes(address);
  if (name !== undefined) writer.u8(ATYP.name).u8(name.length).bytes(name);
  writer.u16(port);
  return true;
}

/** Text up to a NUL, at most 255 bytes of it: SOCKS4 names no bound, and there must be one. */
function readText(reader: Reader, what: string): string | Fault | undefined {
  const from = reader.at;
  const text = reader.untilNul();
  const size = reader.short ? reader.end - from : text.length;
  if (size > 255) return fault("too-large", from + 255, `${what} of more than 255 bytes`);
  return reader.short ? undefined : text.toString();
}

/** Anything a resolver might know, but no controls, spaces or broken UTF-8, which only ever serve to fool one. */
function isName(text: string): boolean {
  return /^[^\p{Cc}\p{Z}\p{Cf}\ufffd]+$/u.test(text);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 0xffff;
}

function commandOf(code: number): Command | undefined {
  if (code === COMMAND.connect) return "connect";
  if (code === COMMAND.bind) return "bind";
  return code === COMMAND.associate ? "associate" : undefined;
}
