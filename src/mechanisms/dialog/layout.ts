import type { ByteReader, ByteWriter } from "../../wire/varint.ts";
import type { Credit, Frame, Position } from "./frames.ts";
import {
  ALL_TOKENS,
  ALL_UNITS,
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

/** How one field is written and read. Reading never throws: what is wrong is noted in the reader. */
export interface Field<T> {
  write(writer: ByteWriter, value: T): void;
  read(reader: ByteReader): T;
}

export interface Layout<F> {
  /** The frame's first byte. */
  readonly code: number;
  /** Its fields, in the order in which they follow. */
  readonly fields: { readonly [Name in Exclude<keyof F, "type">]: Field<F[Name]> };
}

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
      return value <= max ? value : reader.fail("choice");
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
const units = number(ALL_UNITS);
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

/**
 * Every frame of `holdfast.v1`. Codes 0x01…0x0f open links, 0x10…0x3f are numbered, 0x40…0x7f are not, and 0x80…0xff are
 * extensions that bring their length along and are skipped by whoever does not know them.
 */
export const LAYOUTS: { readonly [F in Frame as F["type"]]: Layout<F> } = {
  open: {
    code: 0x01,
    fields: {
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
  },
  opened: {
    code: 0x02,
    fields: {
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
  },
  resume: { code: 0x03, fields: { handle: id, secret, authorization, position, credit } },
  challenge: { code: 0x04, fields: { nonce: block(64) } },
  proof: { code: 0x05, fields: { signature: block(64) } },
  resumed: { code: 0x06, fields: { secret, epoch: any, position, credit, holdMs: ms } },
  refused: { code: 0x07, fields: { code, retryMs: ms, why } },
  data: { code: 0x10, fields: { bytes: content } },
  text: { code: 0x11, fields: { bytes: content } },
  typed: { code: 0x12, fields: { bytes: content } },
  "token-give": { code: 0x13, fields: { tokens } },
  minor: { code: 0x14, fields: { serial } },
  "minor-ack": { code: 0x15, fields: { serial } },
  major: { code: 0x16, fields: { serial } },
  "major-ack": { code: 0x17, fields: { serial } },
  resync: { code: 0x18, fields: { kind: choice(RESYNC_KINDS), serial, placement } },
  "resync-ack": { code: 0x19, fields: { serial, tokens } },
  "activity-start": { code: 0x1a, fields: { id } },
  "activity-resume": { code: 0x1b, fields: { id, oldId: id, oldHandle: id, serial } },
  "activity-interrupt": { code: 0x1c, fields: { reason: code } },
  "activity-interrupt-ack": { code: 0x1d, fields: {} },
  "activity-discard": { code: 0x1e, fields: { reason: code } },
  "activity-discard-ack": { code: 0x1f, fields: {} },
  "activity-end": { code: 0x20, fields: { serial } },
  "activity-end-ack": { code: 0x21, fields: { serial } },
  exception: { code: 0x22, fields: { reason: code, why } },
  finish: { code: 0x23, fields: {} },
  "finish-ack": { code: 0x24, fields: {} },
  "finish-refused": { code: 0x25, fields: {} },
  gap: { code: 0x26, fields: { from: any, to: any, reason: choice(GAP_REASONS) } },
  ack: { code: 0x40, fields: { next: any, credit } },
  "token-please": { code: 0x41, fields: { tokens } },
  ping: { code: 0x42, fields: { id: any, sent: any, next: any } },
  pong: { code: 0x43, fields: { id: any } },
  suspend: { code: 0x44, fields: { reason: code } },
  migrate: { code: 0x45, fields: { url: text(BOUND_URL_BYTES), withinMs: ms } },
  abort: { code: 0x46, fields: { code, why } },
  urgent: { code: 0x47, fields: { bytes: block(BOUND_URGENT_BYTES) } },
  "urgent-ack": { code: 0x48, fields: { count: number(BOUND_URGENT_OUTSTANDING) } },
};
