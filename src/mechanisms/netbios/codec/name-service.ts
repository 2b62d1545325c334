import type { Fault } from "../../../wire/index.ts";
import { fault, isFault, Reader, Writer } from "../../../wire/index.ts";
import type { NetbiosName } from "./name.ts";
import { nameKey, nameOfLabels, readLabels, readName, writeLabels, writeName } from "./name.ts";

/** A packet of the name service (RFC 1002 §4.2.1). */
export interface NamePacket {
  /** NAME_TRN_ID: the answer carries that of the question. */
  readonly id: number;
  readonly response: boolean;
  /** One of `OPCODE`; others are kept as they came. */
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  /** It was sent to everybody: only the name's owner answers. */
  readonly broadcast: boolean;
  /** One of `RCODE`. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
}

export interface Question {
  readonly name: NetbiosName;
  readonly type: number;
}

export interface ResourceRecord {
  /** A plain domain name (text) in the NS and A records of a redirect. */
  readonly name: NetbiosName | string;
  readonly type: number;
  /** Seconds; 0: without end. */
  readonly ttl: number;
  readonly data: RecordData;
}

export type RecordData =
  | { readonly kind: "addresses"; readonly entries: readonly AddressEntry[] }
  | { readonly kind: "status"; readonly names: readonly StatusName[]; readonly unitId: string }
  | { readonly kind: "ip"; readonly address: string }
  | { readonly kind: "name-server"; readonly name: string }
  | { readonly kind: "bytes"; readonly bytes: Buffer };

/** One owner of a name: NB_FLAGS and NB_ADDRESS (RFC 1002 §4.2.2). */
export interface AddressEntry {
  readonly group: boolean;
  readonly node: NodeType;
  readonly address: string;
}

/** One name of a node's table: NODE_NAME with its NAME_FLAGS (RFC 1002 §4.2.18). */
export interface StatusName {
  readonly name: string;
  readonly suffix: number;
  readonly group: boolean;
  readonly node: NodeType;
  readonly active: boolean;
  readonly permanent: boolean;
  readonly conflict: boolean;
  readonly deregistering: boolean;
}

/** How a node finds names: by broadcast, by a name server, by one and then the other. */
export type NodeType = (typeof NODE_TYPES)[number];
const NODE_TYPES = ["B", "P", "M", "H"] as const;

export const OPCODE = {
  query: 0,
  registration: 5,
  release: 6,
  wack: 7,
  refresh: 8,
  refreshAlt: 9,
  multihomed: 15,
} as const;
export const RCODE = {
  ok: 0,
  format: 1,
  server: 2,
  name: 3,
  unsupported: 4,
  refused: 5,
  active: 6,
  conflict: 7,
} as const;
export const RR_TYPE = { a: 0x01, ns: 0x02, null: 0x0a, nb: 0x20, nbstat: 0x21 } as const;

/** Longest packet that is looked at. RFC 1002 §4.2 keeps them to 576 bytes; a node status may be longer. */
const MAX_NAME_PACKET = 4096;

/** A packet, from fields that mostly have the same values. */
export function namePacket(fields: Pick<NamePacket, "id" | "opcode"> & Partial<NamePacket>): NamePacket {
  return {
    response: false,
    authoritative: false,
    truncated: false,
    recursionDesired: false,
    recursionAvailable: false,
    broadcast: false,
    rcode: RCODE.ok,
    questions: [],
    answers: [],
    authority: [],
    additional: [],
    ...fields,
  };
}

/**
 *      | NAME_TRN_ID | R OPCODE(4) AA TC RD RA 0 0 B RCODE(4) | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT |
 */
export function decodeNamePacket(bytes: Buffer): NamePacket | Fault {
  if (bytes.length > MAX_NAME_PACKET)
    return fault("too-large", 0, `a name service packet of ${bytes.length} bytes`);
  const reader = new Reader(bytes);
  const id = reader.u16();
  const flags = reader.u16();
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()] as const;
  if (reader.short) return fault("malformed", 0, "shorter than its header");
  const opcode = (flags >> 11) & 0x0f;
  const questions = readMany(reader, counts[0], readQuestion);
  if (isFault(questions)) return questions;
  const sections: (readonly ResourceRecord[])[] = [];
  for (const count of counts.slice(1)) {
    const records = readMany(reader, count, (from) => readRecord(from, opcode));
    if (isFault(records)) return records;
    sections.push(records);
  }
  return {
    id,
    response: (flags & 0x8000) !== 0,
    opcode,
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    recursionDesired: (flags & 0x0100) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    broadcast: (flags & 0x0010) !== 0,
    rcode: flags & 0x000f,
    questions,
    answers: sections[0] ?? [],
    authority: sections[1] ?? [],
    additional: sections[2] ?? [],
  };
}

export function encodeNamePacket(packet: NamePacket): Buffer {
  const writer = new Writer(128);
  const flag = (set: boolean, bit: number): number => (set ? bit : 0);
  writer.u16(packet.id);
  writer.u16(
    flag(packet.response, 0x8000) |
      (packet.opcode << 11) |
      flag(packet.authoritative, 0x0400) |
      flag(packet.truncated, 0x0200) |
      flag(packet.recursionDesired, 0x0100) |
      flag(packet.recursionAvailable, 0x0080) |
      flag(packet.broadcast, 0x0010) |
      packet.rcode,
  );
  writer.u16(packet.questions.length).u16(packet.answers.length);
  writer.u16(packet.authority.length).u16(packet.additional.length);
  for (const question of packet.questions) {
    writeName(writer, question.name);
    writer.u16(question.type).u16(CLASS_IN);
  }
  const asked = packet.questions[0]?.name;
  for (const record of [...packet.answers, ...packet.authority, ...packet.additional])
    writeRecord(writer, record, asked);
  return writer.finish();
}

function readMany<T>(reader: Reader, count: number, read: (reader: Reader) => T | Fault): T[] | Fault {
  const list: T[] = [];
  // The count is the peer's word only; each item takes bytes, so the packet's size bounds the loop.
  for (let index = 0; index < count; index++) {
    const item = read(reader);
    if (isFault(item)) return item;
    list.push(item);
  }
  return list;
}

function readQuestion(reader: Reader): Question | Fault {
  const name = readName(reader, true);
  if (isFault(name)) return name;
  const type = reader.u16();
  const klass = reader.u16();
  if (reader.short) return fault("malformed", reader.at, "the question ends early");
  if (klass !== CLASS_IN) return fault("unsupported", reader.at - 2, "a class other than Internet");
  return { name, type };
}

function readRecord(reader: Reader, opcode: number): ResourceRecord | Fault {
  const labels = readLabels(reader, true);
  if (isFault(labels)) return labels;
  const type = reader.u16();
  reader.skip(2);
  const ttl = reader.u32();
  const length = reader.u16();
  const start = reader.at;
  reader.skip(length);
  if (reader.short) return fault("malformed", start, "the record ends early");
  const body = new Reader(reader.bytes, start, start + length);
  const data = readData(body, type, opcode);
  if (isFault(data)) return data;
  return { name: nameOfLabels(labels) ?? labels.join("."), type, ttl, data };
}

function readData(reader: Reader, type: number, opcode: number): RecordData | Fault {
  // RFC 1002 §4.2.16: the data of a WACK is the header word of the request, although its type says NB.
  if (opcode === OPCODE.wack) return { kind: "bytes", bytes: reader.rest() };
  if (type === RR_TYPE.nb) return readAddresses(reader);
  if (type === RR_TYPE.nbstat) return readStatus(reader);
  if (type === RR_TYPE.a && reader.remaining === 4) return { kind: "ip", address: readAddress(reader) };
  if (type === RR_TYPE.ns) {
    const labels = readLabels(reader, true);
    return isFault(labels) ? labels : { kind: "name-server", name: labels.join(".") };
  }
  return { kind: "bytes", bytes: reader.rest() };
}

function readAddresses(reader: Reader): RecordData | Fault {
  if (reader.remaining % 6 !== 0) return fault("malformed", reader.at, "addresses that are not 6 bytes each");
  const entries: AddressEntry[] = [];
  while (reader.remaining > 0) {
    const flags = reader.u16();
    entries.push({ ...ownership(flags), address: readAddress(reader) });
  }
  return { kind: "addresses", entries };
}

/** RFC 1002 §4.2.18: the number of names, 18 bytes for each, and 46 bytes of statistics that begin with the unit's id. */
function readStatus(reader: Reader): RecordData | Fault {
  // A node status *request* has no data.
  if (reader.remaining === 0) return { kind: "bytes", bytes: reader.rest() };
  const count = reader.u8();
  const names: StatusName[] = [];
  for (let index = 0; index < count; index++) {
    const name = reader.take(15).toString("latin1").replace(/ +$/u, "");
    const suffix = reader.u8();
    const flags = reader.u16();
    const has = (bit: number): boolean => (flags & bit) !== 0;
    names.push({
      name,
      suffix,
      ...ownership(flags),
      deregistering: has(0x1000),
      conflict: has(0x0800),
      active: has(0x0400),
      permanent: has(0x0200),
    });
  }
  // Some nodes send fewer statistics than they should; their id is all anybody reads.
  const unit = reader.remaining >= 6 ? reader.take(6) : Buffer.alloc(6);
  if (reader.short) return fault("malformed", reader.at, "fewer names than it says");
  return {
    kind: "status",
    names,
    unitId: [...unit].map((byte) => byte.toString(16).padStart(2, "0")).join(":"),
  };
}

function readAddress(reader: Reader): string {
  return [...reader.take(4)].join(".");
}

function ownership(flags: number): { group: boolean; node: NodeType } {
  return { group: (flags & 0x8000) !== 0, node: NODE_TYPES[(flags >> 13) & 3] ?? "B" };
}

function ownershipFlags(of: { readonly group: boolean; readonly node: NodeType }): number {
  return (of.group ? 0x8000 : 0) | (NODE_TYPES.indexOf(of.node) << 13);
}

function writeRecord(writer: Writer, record: ResourceRecord, asked: NetbiosName | undefined): void {
  if (typeof record.name === "string") writeLabels(writer, record.name);
  else if (asked !== undefined && nameKey(asked) === nameKey(record.name)) writer.u16(POINTER_TO_QUESTION);
  else writeName(writer, record.name);
  writer.u16(record.type).u16(CLASS_IN).u32(record.ttl);
  const lengthAt = writer.length;
  writer.u16(0);
  writeData(writer, record.data);
  writer.patchU16(lengthAt, writer.length - lengthAt - 2);
}

function writeData(writer: Writer, data: RecordData): void {
  if (data.kind === "bytes") writer.bytes(data.bytes);
  if (data.kind === "ip") writeAddress(writer, data.address);
  if (data.kind === "name-server") writeLabels(writer, data.name);
  if (data.kind === "addresses") {
    for (const entry of data.entries) {
      writer.u16(ownershipFlags(entry));
      writeAddress(writer, entry.address);
    }
  }
  if (data.kind === "status") writeStatus(writer, data.names, data.unitId);
}

function writeStatus(writer: Writer, names: readonly StatusName[], unitId: string): void {
  writer.u8(names.length);
  for (const one of names) {
    const flag = (set: boolean, bit: number): number => (set ? bit : 0);
    writer.text(one.name.padEnd(15, " ").slice(0, 15), "latin1").u8(one.suffix);
    writer.u16(
      ownershipFlags(one) |
        flag(one.deregistering, 0x1000) |
        flag(one.conflict, 0x0800) |
        flag(one.active, 0x0400) |
        flag(one.permanent, 0x0200),
    );
  }
  for (const part of unitId.split(":")) writer.u8(Number.parseInt(part, 16));
  writer.fill(STATISTICS_BYTES - 6);
}

function writeAddress(writer: Writer, address: string): void {
  for (const part of address.split(".")) writer.u8(Number(part));
}

const CLASS_IN = 1;
const STATISTICS_BYTES = 46;
/** The question's name is the first thing behind the 12 bytes of the header. */
const POINTER_TO_QUESTION = 0xc00c;
