import type { GapReason, NumberedFrame } from "../frames.ts";
import { MAX_SERIAL, TOKEN, UNIT } from "../frames.ts";
import type { Agreement, Side } from "./agreement.ts";
import { settles, tokensOf } from "./agreement.ts";
import type { DialogState, Exchange } from "./state.ts";
import { PURGES } from "./state.ts";

/** A numbered message whose rules are here; GAP belongs to the numbering alone. */
export type Message = Exclude<NumberedFrame, { type: "gap" }>;

/** What a message needs: one of these units, and all of these tokens as far as they are available (X.225 §7). */
const NEEDS: Readonly<Record<Message["type"], { units?: number; tokens?: number; inActivity?: true }>> = {
  data: { tokens: TOKEN.data, inActivity: true },
  text: { tokens: TOKEN.data, inActivity: true },
  typed: { units: UNIT.typed },
  "token-give": {},
  minor: { units: UNIT.minor, tokens: TOKEN.data | TOKEN.minor, inActivity: true },
  "minor-ack": { units: UNIT.minor },
  major: { units: UNIT.major, tokens: TOKEN.data | TOKEN.minor | TOKEN.major, inActivity: true },
  "major-ack": { units: UNIT.major },
  resync: { units: UNIT.resync },
  "resync-ack": { units: UNIT.resync },
  "activity-start": { units: UNIT.activity, tokens: TOKEN.data | TOKEN.minor | TOKEN.major },
  "activity-resume": { units: UNIT.activity, tokens: TOKEN.data | TOKEN.minor | TOKEN.major },
  "activity-interrupt": { units: UNIT.activity, tokens: TOKEN.major },
  "activity-interrupt-ack": { units: UNIT.activity },
  "activity-discard": { units: UNIT.activity, tokens: TOKEN.major },
  "activity-discard-ack": { units: UNIT.activity },
  "activity-end": { units: UNIT.activity, tokens: TOKEN.data | TOKEN.minor | TOKEN.major },
  "activity-end-ack": { units: UNIT.activity },
  exception: { units: UNIT.exceptions },
  finish: { tokens: TOKEN.data | TOKEN.minor | TOKEN.major | TOKEN.release },
  "finish-ack": {},
  "finish-refused": { units: UNIT.release },
};

/** Tokens `side` has. While a purge is under way nobody has any: its end places them anew. */
export function tokensHeld(agreement: Agreement, state: DialogState, side: Side): number {
  if (state.exchange !== undefined) return 0;
  return side === 0 ? state.tokens : tokensOf(agreement.units) & ~state.tokens;
}

/** Which of two purges that crossed goes on (X.225 §7.28): the stronger; the lower restart; the initiator's. */
function prevails(one: Exchange, other: Exchange): boolean {
  const rank = PURGES.indexOf(one.purge) - PURGES.indexOf(other.purge);
  if (rank !== 0) return rank > 0;
  if (one.purge === "restart" && one.serial !== other.serial) return one.serial < other.serial;
  return one.by < other.by;
}

/** The purge a message asks for, or `undefined` when it asks for none. */
export function purgeOf(message: Message, by: Side): Exchange | undefined {
  if (message.type === "resync")
    return { by, purge: message.kind, serial: message.serial, placement: message.placement };
  if (message.type === "activity-interrupt") return { by, purge: "interrupt", serial: 0, placement: 0 };
  if (message.type === "activity-discard") return { by, purge: "discard", serial: 0, placement: 0 };
  return undefined;
}

/**
 * Why `sender` may not send `message` now; `undefined` when it may. Asked by the sender itself (`own`) it is the whole
 * truth. Asked by the receiver it holds the sender only to what the sender was bound to know: its own messages and what
 * it had in hand, not what may still be on the way to it.
 */
export function objection(
  agreement: Agreement,
  state: DialogState,
  message: Message,
  sender: Side,
  own: boolean,
): string | undefined {
  const { type } = message;
  const needs = NEEDS[type];
  const other: Side = sender === 0 ? 1 : 0;
  if (state.finished) return "the dialog is finished";
  if (needs.units !== undefined && (agreement.units & needs.units) === 0)
    return `${type} was not agreed on when the dialog was opened`;
  if (state.finish === sender) return "it has asked to finish and must wait for the answer";

  const { exchange } = state;
  if (exchange !== undefined && exchange.by === sender)
    return `its ${exchange.purge} is not answered yet, and it must wait for that`;
  if (exchange !== undefined) return duringPurge(agreement, state, exchange, message, sender, own);

  const wanted = (needs.tokens ?? 0) & tokensOf(agreement.units);
  const missing = wanted & ~tokensHeld(agreement, state, sender);
  if (missing !== 0) return `${type} needs the ${tokenNames(missing)} token`;
  if (needs.inActivity && (agreement.units & UNIT.activity) !== 0 && state.activity === undefined)
    return `${type} belongs inside an activity`;
  if (state.major?.by === sender && purgeOf(message, sender) === undefined)
    return "its major sync point is not confirmed yet, and it must wait for that";
  if (own) {
    const bound = ownBonds(state, message, other);
    if (bound !== undefined) return bound;
  }
  return particular(agreement, state, message, sender, own);
}

/**
 * Whether `message` from `peer` is void because this side's own purge is unanswered: all but the answer, a purge that goes
 * before it, and the confirmation of a major point (X.225 §7.28).
 */
export function purges(state: DialogState, message: Message, peer: Side): boolean {
  const { exchange } = state;
  if (exchange === undefined) return false;
  const counter = purgeOf(message, peer);
  if (counter !== undefined) return !prevails(counter, exchange);
  if (CONFIRMS_MAJOR.has(message.type)) return state.major?.by !== exchange.by;
  return !ANSWERS_PURGE.has(message.type);
}

/** What takes back the content its sender has not got acknowledged. */
export const PURGING: ReadonlySet<string> = new Set([
  "resync",
  "resync-ack",
  "activity-interrupt",
  "activity-interrupt-ack",
  "activity-discard",
  "activity-discard-ack",
]);

/** Only a feed drops, and only what can purge takes back. */
export function gapObjection(agreement: Agreement, reason: GapReason): string | undefined {
  const able = reason === "dropped" ? UNIT.simplexDown | UNIT.simplexUp : UNIT.resync | UNIT.activity;
  return (agreement.units & able) === 0 ? `no messages are ${reason} in this dialog` : undefined;
}

/** While `exchange`, asked for by the other side, waits for `sender`'s answer. */
function duringPurge(
  agreement: Agreement,
  state: DialogState,
  exchange: Exchange,
  message: Message,
  sender: Side,
  own: boolean,
): string | undefined {
  const counter = purgeOf(message, sender);
  if (counter !== undefined)
    return prevails(counter, exchange) ? undefined : `the other side's ${exchange.purge} goes before it`;
  // It was given before the request for the purge arrived there, and moves V(R) on both sides.
  if (!own && CONFIRMS_MAJOR.has(message.type)) return particular(agreement, state, message, sender, own);
  const answer =
    exchange.purge === "interrupt" || exchange.purge === "discard"
      ? `activity-${exchange.purge}-ack`
      : "resync-ack";
  if (message.type !== answer)
    return own ? `the other side's ${exchange.purge} must be answered first` : `${answer} was to come`;
  if (message.type !== "resync-ack") return undefined;
  if (!settles(exchange.placement, tokensOf(agreement.units), message.tokens))
    return "its answer places a token against the request";
  const serial = answerSerial(state, exchange);
  const fits = exchange.purge === "abandon" && !own ? message.serial >= serial : message.serial === serial;
  return fits ? undefined : `the dialog goes on at ${serial}`;
}

/**
 * Where the dialog goes on after a resynchronization. A restart that crossed the confirmation of a major point cannot go
 * behind that point; an abandon takes the number that neither side has used.
 */
export function answerSerial(state: DialogState, exchange: Exchange): number {
  if (exchange.purge === "restart") return Math.max(exchange.serial, state.vr);
  return exchange.purge === "abandon" ? Math.max(exchange.serial, state.vm) : exchange.serial;
}

/** What the sender itself knows it owes the other side. */
function ownBonds(state: DialogState, message: Message, other: Side): string | undefined {
  const { type } = message;
  if (state.major?.by === other && MAJOR_BLOCKS.has(type))
    return "the other side's major sync point must be confirmed first";
  if (state.finish === other && !WHEN_FINISHING.has(type))
    return "the other side's wish to finish comes first";
  if (state.exception === other) {
    const deals = message.type === "token-give" && (message.tokens & TOKEN.data) !== 0;
    if (!deals && EXCEPTION_BLOCKS.has(type))
      return "the other side reported an exception; deal with it first";
  }
  return undefined;
}

const MAJOR_BLOCKS: ReadonlySet<string> = new Set([
  "minor",
  "major",
  "token-give",
  "activity-start",
  "activity-resume",
  "activity-end",
  "finish",
]);
const ANSWERS_PURGE: ReadonlySet<string> = new Set([
  "resync-ack",
  "activity-interrupt-ack",
  "activity-discard-ack",
]);
const CONFIRMS_MAJOR: ReadonlySet<string> = new Set(["major-ack", "activity-end-ack"]);
const WHEN_FINISHING: ReadonlySet<string> = new Set([
  "data",
  "text",
  "typed",
  "finish-ack",
  "finish-refused",
]);
const EXCEPTION_BLOCKS: ReadonlySet<string> = new Set([
  "data",
  "text",
  "minor",
  "major",
  "activity-end",
  "finish",
  "token-give",
]);

/** What depends on the message's own fields. */
function particular(
  agreement: Agreement,
  state: DialogState,
  message: Message,
  sender: Side,
  own: boolean,
): string | undefined {
  const other: Side = sender === 0 ? 1 : 0;
  switch (message.type) {
    case "data":
    case "text":
    case "typed": {
      const silent = sender === 0 ? UNIT.simplexDown : UNIT.simplexUp;
      if ((agreement.units & silent) !== 0) return "only the other side speaks in this simplex dialog";
      return message.bytes.length > agreement.maxMessageBytes
        ? `a message has at most ${agreement.maxMessageBytes} bytes`
        : undefined;
    }
    case "token-give": {
      const missing = message.tokens & ~tokensHeld(agreement, state, sender);
      if (message.tokens === 0) return "no token was named";
      return missing === 0 ? undefined : `it does not have the ${tokenNames(missing)} token`;
    }
    case "minor":
    case "major":
    case "activity-end":
      if (message.type === "activity-end" && state.activity === undefined) return "no activity is going on";
      if (message.serial !== state.vm) return `the next sync point is ${state.vm}`;
      return state.vm >= MAX_SERIAL ? "the serial numbers are used up; resynchronize with set" : undefined;
    case "minor-ack":
      if (state.confirmer !== sender) return "there is no minor sync point for it to confirm";
      return message.serial < state.va || message.serial >= state.vm
        ? `the points ${state.va} to ${state.vm - 1} are to be confirmed`
        : undefined;
    case "major-ack":
    case "activity-end-ack": {
      const { major } = state;
      const end = message.type === "activity-end-ack";
      return major?.by === other && major.end === end && major.serial === message.serial
        ? undefined
        : "there is no such major sync point to confirm";
    }
    case "resync": {
      if (own && (state.finish !== undefined || !inside(agreement, state)))
        return "there is nothing to resynchronize";
      if (message.kind === "restart") {
        if (own && message.serial < state.vr) return `restart goes back to ${state.vr} at most`;
        return message.serial > state.vm ? `restart is from ${state.vm} at most` : undefined;
      }
      // V(M) of the one who asks may lag behind, by points that are on the way to it.
      return own && message.kind === "abandon" && message.serial !== state.vm
        ? `abandon goes on at ${state.vm}`
        : undefined;
    }
    case "activity-start":
    case "activity-resume":
      if (state.activity !== undefined) return "an activity is going on already";
      if (message.type === "activity-start") return undefined;
      return message.serial < MAX_SERIAL - 1 ? undefined : "no serial numbers are left behind that point";
    case "activity-interrupt":
    case "activity-discard":
      return own && state.activity === undefined ? "no activity is going on" : undefined;
    case "exception":
      return own && (tokensHeld(agreement, state, sender) & TOKEN.data) !== 0
        ? "who has the data token has other ways than an exception"
        : undefined;
    case "finish":
      if (state.activity !== undefined) return "an activity is going on; end, interrupt or discard it first";
      return own && state.exchange !== undefined ? "a purge is under way" : undefined;
    case "finish-ack":
    case "finish-refused":
      return state.finish === other ? undefined : "nobody has asked to finish";
    case "resync-ack":
    case "activity-interrupt-ack":
    case "activity-discard-ack":
      return "there is nothing to be answered";
  }
}

function inside(agreement: Agreement, state: DialogState): boolean {
  return (agreement.units & UNIT.activity) === 0 || state.activity !== undefined;
}

const TOKEN_NAMES = Object.entries(TOKEN);

function tokenNames(tokens: number): string {
  return TOKEN_NAMES.filter(([, bit]) => (tokens & bit) !== 0)
    .map(([name]) => name)
    .join(" and ");
}
