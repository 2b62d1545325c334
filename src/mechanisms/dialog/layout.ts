import type { ByteReader, ByteWriter } from "../../wire/varint.ts";
import type { Credit, Frame, LinkFrame, NumberedFrame, Position, UnnumberedFrame } from "./frames.ts";
import {
  ALL_TOKENS,
  BOUND_AUTHORIZATION_BYTES,
  BOUND_CREDIT_BYTES,
  BOUND_CREDIT_MESSAGES,
  BOUND_ID_BYTES,
  BOUND_LABEL_BYTES,
  BOUND_MESSAGE_BYTES,
  BOUND_MS,
  BOUND_OPEN_DATA_BYTES,
  BOUND_SECRET_BYTES,
  BOUND_URGENT_BYTES,
  BOUND_URGENT_OUTSTANDING,
  BOUND_URL_BYTES,
  BOUND_WHY_BYTES,
  GAP_REASONS,
  MAX_SERIAL,
  RESYNC_KINDS,
} from "./numbers.ts";
import * as UNIT from "./units.ts";

/** How one field is written and read. Reading never throws: what is wrong is noted in the reader. */
export interface Field<T> {
  write(writer: ByteWriter, value: T): void;
  read(reader: ByteReader): T;
}

/** The fields of a frame, in the order in which they follow. */
export type Layout<F> = { readonly [Name in Exclude<keyof F, "type">]: Field<F[Name]> };

type Layouts<F extends Frame> = { readonly [One in F as One["type"]]: Layout<One> };

function number(max?: number): Field<number> {
  return { write: (writer, value) => writer.varint(value), read: (reader) => reader.varint(max) };
}

function text(max: number): Field<string> {
  return { write: (writer, value) => writer.text(value), read: (reader) => reader.text(max) };
}

function block(max: number): Field<Uint8Array> {
  return { write: (writer, value) => writer.block(value), read: (reader) => reader.block(max) };
}

function small(max: number): Field<number> {
  return {
    write: (writer, value) => writer.byte(value),
    read(reader) {
      const value = reader.byte();
      return value > max ? reader.fail("choice") : value;
    },
  };
}

function choice<T>(among: readonly [T, ...T[]]): Field<T> {
  const index = small(among.length - 1);
  return {
    write: (writer, value) => index.write(writer, among.indexOf(value)),
    read: (reader) => among[index.read(reader)] ?? among[0],
  };
}

const any = number();
const code = number(255);
const ms = number(BOUND_MS);
const serial = number(MAX_SERIAL);
const units = number(UNIT.all);
const tokens = small(ALL_TOKENS);
const placement = small(255);
const id = text(BOUND_ID_BYTES);
const secret = text(BOUND_SECRET_BYTES);
const why = text(BOUND_WHY_BYTES);
const authorization = text(BOUND_AUTHORIZATION_BYTES);
const maxMessageBytes = number(BOUND_MESSAGE_BYTES);
const content = block(BOUND_MESSAGE_BYTES);

const credit: Field<Credit> = {
  write: (writer, value) => writer.varint(value.messages).varint(value.bytes),
  read: (reader) => ({
    messages: reader.varint(BOUND_CREDIT_MESSAGES),
    bytes: reader.varint(BOUND_CREDIT_BYTES),
  }),
};

const position: Field<Position> = {
  write: (writer, value) => writer.varint(value.next).varint(value.committed).varint(value.sent),
  read: (reader) => ({ next: reader.varint(), committed: reader.varint(), sent: reader.varint() }),
};

// Every frame of `holdfast.v1`. Its code, the first byte, follows from its place.

/** What opens links: 0x01 and on. */
export const LINK_FRAMES: Layouts<LinkFrame> = {
  open: {
    version: code,
    units,
    placement,
    checkpointBytes: any,
    checkpointWindow: serial,
    maxMessageBytes,
    credit,
    holdMs: ms,
    proofKey: block(65),
    authorization,
    label: text(BOUND_LABEL_BYTES),
    data: block(BOUND_OPEN_DATA_BYTES),
  },
  opened: {
    handle: id,
    secret,
    epoch: any,
    units,
    tokens,
    checkpointBytes: any,
    checkpointWindow: serial,
    maxMessageBytes,
    credit,
    holdMs: ms,
    pingMs: ms,
  },
  resume: { handle: id, secret, authorization, position, credit },
  challenge: { nonce: block(64) },
  proof: { signature: block(64) },
  resumed: { secret, epoch: any, position, credit, holdMs: ms },
  refused: { code, retryMs: ms, why },
};

/** What is numbered: 0x10 and on. */
export const NUMBERED_FRAMES: Layouts<NumberedFrame> = {
  data: { bytes: content },
  text: { bytes: content },
  typed: { bytes: content },
  "token-give": { tokens },
  minor: { serial },
  "minor-ack": { serial },
  major: { serial },
  "major-ack": { serial },
  resync: { kind: choice(RESYNC_KINDS), serial, placement },
  "resync-ack": { serial, tokens },
  "activity-start": { id },
  "activity-resume": { id, oldId: id, oldHandle: id, serial },
  "activity-interrupt": { reason: code },
  "activity-interrupt-ack": {},
  "activity-discard": { reason: code },
  "activity-discard-ack": {},
  "activity-end": { serial },
  "activity-end-ack": { serial },
  exception: { reason: code, why },
  finish: {},
  "finish-ack": {},
  "finish-refused": {},
  gap: { from: any, to: any, reason: choice(GAP_REASONS) },
};

/** What is not: 0x40 and on. From 0x80 on are extensions, which bring their length along and are skipped. */
export const UNNUMBERED_FRAMES: Layouts<UnnumberedFrame> = {
  ack: { next: any, credit },
  "token-please": { tokens },
  ping: { id: any, sent: any, next: any },
  pong: { id: any },
  suspend: { reason: code },
  migrate: { url: text(BOUND_URL_BYTES), withinMs: ms },
  abort: { code, why },
  urgent: { bytes: block(BOUND_URGENT_BYTES) },
  "urgent-ack": { count: number(BOUND_URGENT_OUTSTANDING) },
};
