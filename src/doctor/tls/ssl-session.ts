import type { Fault } from "../../wire/index.ts";
import { fault, isFault, Reader } from "../../wire/index.ts";
import type { DerElement } from "./der.ts";
import { explicitTag, integerOf, readElement, TAG } from "./der.ts";

/**
 * What a TLS client of OpenSSL remembers of a session, which Node hands out (`getSession()`, the event `session`). The master key and the resumption secret in it are passed over.
 */
export interface SslSession {
  /** 0x0303 is TLS 1.2, 0x0304 TLS 1.3. */
  readonly version: number;
  /** What the server chose; with a ticket it is made up by the client. Empty: none. */
  readonly id: Buffer;
  readonly ticket?: Buffer;
  /** Seconds, as the server says: RFC 5077 §3.3, RFC 8446 §4.6.1. Absent is 0. */
  readonly lifetimeHint?: number;
  /** RFC 8446 §4.6.1: what the client adds to the ticket's age so that nobody can follow it by that. */
  readonly ageAdd?: number;
  /** RFC 8446 §4.2.10: bytes that may be sent before the handshake is complete. Absent is 0. */
  readonly maxEarlyData?: number;
  readonly hostname?: string;
}

/**
 * Newer Nodes (seen in 22.23, 24.21 and 26.10) put the name that the server was verified for in front of what OpenSSL has: a mark,
 * two bytes of length, the name. A client that does not verify may offer what is behind it under any name. Sessions
 * without it are returned as they are.
 */
export function withoutEnvelope(session: Buffer): Buffer {
  if (!session.subarray(0, ENVELOPE.length).equals(ENVELOPE)) return session;
  const reader = new Reader(session, ENVELOPE.length);
  reader.skip(reader.u16());
  return reader.short ? session : reader.rest();
}

/**
 * SSL_SESSION_ASN1 of OpenSSL (ssl/ssl_asn1.c): SEQUENCE { version INTEGER (1), protocol INTEGER, cipher OCTET STRING,
 * id OCTET STRING, masterKey OCTET STRING, … [6] hostname … [9] lifetimeHint [10] ticket … [14] ageAdd
 * [15] maxEarlyData … }. What else there is, or will be, is passed over.
 */
export function parseSslSession(bytes: Buffer): SslSession | Fault {
  const outer = readElement(new Reader(bytes));
  if (isFault(outer)) return outer;
  if (outer.tag !== TAG.sequence) return fault("malformed", 0, "not a SEQUENCE");
  if (outer.at + outer.content.length !== bytes.length)
    return fault("malformed", outer.at + outer.content.length, "something follows the session");
  const reader = new Reader(bytes, outer.at);
  const fixed = readFixed(reader);
  return isFault(fixed) ? fixed : readOptional(reader, fixed);
}

type Fixed = Pick<SslSession, "version" | "id">;

function readFixed(reader: Reader): Fixed | Fault {
  const members: DerElement[] = [];
  for (const tag of FIXED) {
    const member = readElement(reader);
    if (isFault(member)) return member;
    if (member.tag !== tag) return fault("malformed", member.at, "not the member that belongs here");
    members.push(member);
  }
  const [structure, protocol, , id] = members;
  if (structure === undefined || protocol === undefined || id === undefined)
    return fault("malformed", reader.at, "a member is missing");
  const format = integerOf(structure);
  if (isFault(format)) return format;
  if (format !== 1) return fault("unsupported", structure.at, `version ${format} of the format`);
  const version = integerOf(protocol);
  return isFault(version) ? version : { version, id: id.content };
}

function readOptional(reader: Reader, fixed: Fixed): SslSession | Fault {
  const found: { -readonly [name in keyof SslSession]: SslSession[name] } = { ...fixed };
  while (reader.remaining > 0) {
    const wrapper = readElement(reader);
    if (isFault(wrapper)) return wrapper;
    const wanted = NUMBERS.find(({ tag }) => tag === wrapper.tag);
    const isText = wrapper.tag === HOSTNAME || wrapper.tag === TICKET;
    if (wanted === undefined && !isText) continue;
    const inner = new Reader(reader.bytes, wrapper.at, wrapper.at + wrapper.content.length);
    const member = readElement(inner);
    if (isFault(member)) return member;
    if (inner.remaining > 0) return fault("malformed", inner.at, "more than one element in a wrapper");
    if (wanted !== undefined) {
      const value = integerOf(member);
      if (isFault(value)) return value;
      found[wanted.name] = value;
    } else if (member.tag !== TAG.octetString) return fault("malformed", member.at, "not an OCTET STRING");
    else if (wrapper.tag === TICKET) found.ticket = member.content;
    else found.hostname = member.content.toString("latin1");
  }
  return found;
}

const ENVELOPE = Buffer.from("\0nodejs:tls:session:1\0");
const FIXED = [TAG.integer, TAG.integer, TAG.octetString, TAG.octetString, TAG.octetString] as const;
const HOSTNAME = explicitTag(6);
const TICKET = explicitTag(10);
const NUMBERS = [
  { tag: explicitTag(9), name: "lifetimeHint" },
  { tag: explicitTag(14), name: "ageAdd" },
  { tag: explicitTag(15), name: "maxEarlyData" },
] as const;
