import type { Fault } from "../../../wire/fault.ts";
import { fault, isFault } from "../../../wire/fault.ts";
import { ByteReader, ByteWriter } from "../../../wire/varint.ts";
import { ALL_TOKENS, BOUND_ID_BYTES, MAX_SERIAL } from "../numbers.ts";
import type { Side } from "./agreement.ts";
import type { DialogState, Exchange, Major, Mark } from "./state.ts";
import { PURGES } from "./state.ts";

export function encodeMark(mark: Mark): Uint8Array {
  const writer = new ByteWriter();
  writer.byte(VERSION).varint(mark.committed).varint(mark.applied).varint(mark.sent).varint(mark.acked);
  writer.varint(mark.purgedBelow).varint(mark.droppedBelow).varint(mark.sinceCheckpoint);
  writeState(writer, mark.state);
  return writer.take();
}

export function decodeMark(bytes: Uint8Array): Mark | Fault {
  const reader = new ByteReader(bytes);
  const version = reader.byte();
  if (version !== VERSION) return fault("unsupported", 0, `a dialog stored in version ${version}`);
  const committed = reader.varint();
  const applied = reader.varint();
  const sent = reader.varint();
  const acked = reader.varint();
  const purgedBelow = reader.varint();
  const droppedBelow = reader.varint();
  const sinceCheckpoint = reader.varint();
  const state = readState(reader);
  if (isFault(state)) return state;
  if (!reader.done || committed > applied || acked > sent || purgedBelow > sent)
    return fault("malformed", reader.at, "a stored dialog that does not fit together");
  return { committed, applied, sent, acked, purgedBelow, droppedBelow, sinceCheckpoint, state };
}

const VERSION = 1;

function writeState(writer: ByteWriter, state: DialogState): void {
  const { major, exchange, activity } = state;
  writer.byte(state.tokens).varint(state.va).varint(state.vm).varint(state.vr);
  writer
    .byte(state.confirmer ?? NOBODY)
    .byte(state.exception ?? NOBODY)
    .byte(state.finish ?? NOBODY);
  writer.byte(
    (major ? 1 : 0) | (exchange ? 2 : 0) | (activity === undefined ? 0 : 4) | (state.finished ? 8 : 0),
  );
  if (major)
    writer
      .byte(major.by)
      .varint(major.serial)
      .byte(major.end ? 1 : 0);
  if (exchange) {
    writer
      .byte(exchange.by)
      .byte(PURGES.indexOf(exchange.purge))
      .varint(exchange.serial)
      .byte(exchange.placement);
  }
  if (activity !== undefined) writer.text(activity);
}

function readState(reader: ByteReader): DialogState | Fault {
  const tokens = reader.byte();
  const va = reader.varint(MAX_SERIAL + 1);
  const vm = reader.varint(MAX_SERIAL + 1);
  const vr = reader.varint(MAX_SERIAL + 1);
  const confirmer = side(reader.byte());
  const exception = side(reader.byte());
  const finish = side(reader.byte());
  const flags = reader.byte();
  const major = flags & 1 ? readMajor(reader) : undefined;
  const exchange = flags & 2 ? readExchange(reader) : undefined;
  const activity = flags & 4 ? reader.text(BOUND_ID_BYTES) : undefined;
  if (reader.fault !== undefined || tokens > ALL_TOKENS || va > vm || vr > vm)
    return fault("malformed", reader.at, reader.fault ?? "a stored dialog state that cannot be");
  const finished = (flags & 8) !== 0;
  return { tokens, va, vm, vr, confirmer, major, exchange, activity, exception, finish, finished };
}

function readMajor(reader: ByteReader): Major {
  return { by: side(reader.byte()) ?? 0, serial: reader.varint(MAX_SERIAL), end: reader.byte() === 1 };
}

function readExchange(reader: ByteReader): Exchange {
  return {
    by: side(reader.byte()) ?? 0,
    purge: PURGES[reader.byte()] ?? "restart",
    serial: reader.varint(MAX_SERIAL + 1),
    placement: reader.byte(),
  };
}

const NOBODY = 2;

function side(value: number): Side | undefined {
  return value === 0 || value === 1 ? value : undefined;
}
