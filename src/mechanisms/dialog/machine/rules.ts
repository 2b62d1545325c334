import type { ContentType } from "../codec.ts";
import type { NumberedFrame } from "../frames.ts";
import { MAX_SERIAL, TOKEN, TOKEN_DATA, TOKEN_MAJOR, TOKEN_MINOR } from "../numbers.ts";
import * as UNIT from "../units.ts";
import type { Agreement, Side } from "./agreement.ts";
import { settle, settles, tokensHeld, tokensOf } from "./agreement.ts";
import { apply } from "./apply.ts";
import { purgeOf } from "./purge.ts";
import type { DialogState, Exchange } from "./state.ts";
import { PURGES } from "./state.ts";

/** A numbered message whose rules are here; GAP belongs to the numbering alone. */
export type Message = Exclude<NumberedFrame, { type: "gap" }>;
export type Content = Extract<Message, { type: ContentType }>;

/** What a machine goes by. `plainRules` are enough for a dialog without tokens and sync points. */
export interface Rules {
  /** Why `sender` may not send `message` now; see `fullRules`. */
  objection(
    agreement: Agreement,
    state: DialogState,
    message: Message,
    sender: Side,
    own: boolean,
  ): string | undefined;
  /** What a message that met no objection does to the state: the same on either side. */
  apply(agreement: Agreement, state: DialogState, message: Message, sender: Side): void;
  /** Whether `message` from `peer` is void because this side's own purge is unanswered. */
  voids(state: DialogState, message: Message, peer: Side): boolean;
  /** The purge a message asks for, or `undefined` when it asks for none. */
  purgeOf(message: Message, by: Side): Exchange | undefined;
  /** Whether it takes back the content its sender has not got acknowledged. */
  isPurging(message: Message): boolean;
  /** What `side` answers to the purge the other side asked for; `undefined` when there is none. */
  answer(agreement: Agreement, state: DialogState, side: Side): Message | undefined;
}

// What a message is, apart from its units and tokens.
const IN_ACTIVITY = 1;
/** Takes back the content its sender has not got acknowledged. */
const PURGING = 2;
/** Ends the purge the other side asked for. */
const ANSWERS_PURGE = 4;
const CONFIRMS_MAJOR = 8;
/** Not while the other side's major point is unconfirmed. */
const AFTER_MAJOR = 16;
/** Still, when the other side has asked to finish. */
const WHEN_FINISHING = 32;
/** Not while the other side's exception is open. */
const AFTER_EXCEPTION = 64;

const SPEECH = IN_ACTIVITY | WHEN_FINISHING | AFTER_EXCEPTION;
const POINT = IN_ACTIVITY | AFTER_MAJOR | AFTER_EXCEPTION;
const PURGE_ANSWER = PURGING | ANSWERS_PURGE;
const MAJOR_TOKENS = 7;
const ALL = 15;

/** What each message needs: one of these units (0: none), these tokens as far as they are available (X.225 §7); and what it is. */
const MESSAGES: { readonly [Type in Message["type"]]: readonly [units: number, tokens: number, is: number] } =
  {
    data: [0, TOKEN_DATA, SPEECH],
    text: [0, TOKEN_DATA, SPEECH],
    typed: [UNIT.typed, 0, WHEN_FINISHING],
    "token-give": [0, 0, AFTER_MAJOR | AFTER_EXCEPTION],
    minor: [UNIT.minor, TOKEN_DATA | TOKEN_MINOR, POINT],
    "minor-ack": [UNIT.minor, 0, 0],
    major: [UNIT.major, MAJOR_TOKENS, POINT],
    "major-ack": [UNIT.major, 0, CONFIRMS_MAJOR],
    resync: [UNIT.resync, 0, PURGING],
    "resync-ack": [UNIT.resync, 0, PURGE_ANSWER],
    "activity-start": [UNIT.activity, MAJOR_TOKENS, AFTER_MAJOR],
    "activity-resume": [UNIT.activity, MAJOR_TOKENS, AFTER_MAJOR],
    "activity-interrupt": [UNIT.activity, TOKEN_MAJOR, PURGING],
    "activity-interrupt-ack": [UNIT.activity, 0, PURGE_ANSWER],
    "activity-discard": [UNIT.activity, TOKEN_MAJOR, PURGING],
    "activity-discard-ack": [UNIT.activity, 0, PURGE_ANSWER],
    "activity-end": [UNIT.activity, MAJOR_TOKENS, AFTER_MAJOR | AFTER_EXCEPTION],
    "activity-end-ack": [UNIT.activity, 0, CONFIRMS_MAJOR],
    exception: [UNIT.exceptions, 0, 0],
    finish: [0, ALL, AFTER_MAJOR | AFTER_EXCEPTION],
    "finish-ack": [0, 0, WHEN_FINISHING],
    "finish-refused": [UNIT.release, 0, WHEN_FINISHING],
  };

function is(message: Message, what: number): boolean {
  return (MESSAGES[message.type][2] & what) !== 0;
}

function isPurging(message: Message): boolean {
  return is(message, PURGING);
}

/** Which of two purges that crossed goes on (X.225 §7.28): the stronger; the lower restart; the initiator's. */
function prevails(one: Exchange, other: Exchange): boolean {
  const rank = PURGES.indexOf(one.purge) - PURGES.indexOf(other.purge);
  if (rank !== 0) return rank > 0;
  if (one.purge === "restart" && one.serial !== other.serial) return one.serial < other.serial;
  return one.by < other.by;
}

/**
 * Why `sender` may not send `message` now, as `explain` knows it; `undefined` when it may. Asked by the sender itself (`own`) it is the whole
 * truth. Asked by the receiver it holds the sender only to what the sender was bound to know: its own messages and what
 * it had in hand, not what may still be on the way to it.
 */
function objection(
  agreement: Agreement,
  state: DialogState,
  message: Message,
  sender: Side,
  own: boolean,
): string | undefined {
  const { type } = message;
  const [units, tokens] = MESSAGES[type];
  const other: Side = sender === 0 ? 1 : 0;
  if (state.finished) return "finished";
  if (units !== 0 && (agreement.units & units) === 0) return `unagreed:${type}`;
  if (state.finish === sender) return "finishing";

  const { exchange } = state;
  if (exchange !== undefined && exchange.by === sender) return `purging:${exchange.purge}`;
  if (exchange !== undefined) return duringPurge(agreement, state, exchange, message, sender, own);

  const missing = tokens & tokensOf(agreement.units) & ~tokensHeld(agreement, state, sender);
  if (missing !== 0) return `token:${type}:${tokenNames(missing)}`;
  if (is(message, IN_ACTIVITY) && (agreement.units & UNIT.activity) !== 0 && state.activity === undefined)
    return `outside:${type}`;
  if (state.major?.by === sender && purgeOf(message, sender) === undefined) return "major";
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
function voids(state: DialogState, message: Message, peer: Side): boolean {
  const { exchange } = state;
  if (exchange === undefined) return false;
  const counter = purgeOf(message, peer);
  if (counter !== undefined) return !prevails(counter, exchange);
  if (is(message, CONFIRMS_MAJOR)) return state.major?.by !== exchange.by;
  return !is(message, ANSWERS_PURGE);
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
  if (counter !== undefined) return prevails(counter, exchange) ? undefined : `purge:${exchange.purge}`;
  // It was given before the request for the purge arrived there, and moves V(R) on both sides.
  if (!own && is(message, CONFIRMS_MAJOR)) return particular(agreement, state, message, sender, own);
  const answer =
    exchange.purge === "interrupt" || exchange.purge === "discard"
      ? `activity-${exchange.purge}-ack`
      : "resync-ack";
  if (message.type !== answer) return own ? `answer:${exchange.purge}` : `wanted:${answer}`;
  if (message.type !== "resync-ack") return undefined;
  if (!settles(exchange.placement, tokensOf(agreement.units), message.tokens)) return "placement";
  const serial = answerSerial(state, exchange);
  const fits = exchange.purge === "abandon" && !own ? message.serial >= serial : message.serial === serial;
  return fits ? undefined : `resync:${serial}`;
}

/**
 * Where the dialog goes on after a resynchronization. A restart that crossed the confirmation of a major point cannot go
 * behind that point; an abandon takes the number that neither side has used.
 */
function answerSerial(state: DialogState, exchange: Exchange): number {
  if (exchange.purge === "restart") return Math.max(exchange.serial, state.vr);
  return exchange.purge === "abandon" ? Math.max(exchange.serial, state.vm) : exchange.serial;
}

/** What the sender itself knows it owes the other side. */
function ownBonds(state: DialogState, message: Message, other: Side): string | undefined {
  if (state.major?.by === other && is(message, AFTER_MAJOR)) return "confirm";
  if (state.finish === other && !is(message, WHEN_FINISHING)) return "finish";
  const deals = message.type === "token-give" && (message.tokens & TOKEN_DATA) !== 0;
  return state.exception === other && is(message, AFTER_EXCEPTION) && !deals ? "exception" : undefined;
}

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
      if ((agreement.units & silent) !== 0) return "simplex";
      return message.bytes.length > agreement.maxMessageBytes
        ? `size:${agreement.maxMessageBytes}`
        : undefined;
    }
    case "token-give": {
      const missing = message.tokens & ~tokensHeld(agreement, state, sender);
      if (message.tokens === 0) return "no-token";
      return missing === 0 ? undefined : `not-held:${tokenNames(missing)}`;
    }
    case "minor":
    case "major":
    case "activity-end":
      if (message.type === "activity-end" && state.activity === undefined) return "no-activity";
      if (message.serial !== state.vm) return `serial:${state.vm}`;
      return state.vm >= MAX_SERIAL ? "serials" : undefined;
    case "minor-ack":
      if (state.confirmer !== sender) return "no-minor";
      return message.serial < state.va || message.serial >= state.vm
        ? `points:${state.va}:${state.vm - 1}`
        : undefined;
    case "major-ack":
    case "activity-end-ack": {
      const { major } = state;
      const end = message.type === "activity-end-ack";
      return major?.by === other && major.end === end && major.serial === message.serial
        ? undefined
        : "no-major";
    }
    case "resync": {
      if (own && (state.finish !== undefined || !inside(agreement, state))) return "no-resync";
      if (message.kind === "restart") {
        if (own && message.serial < state.vr) return `restart-low:${state.vr}`;
        return message.serial > state.vm ? `restart-high:${state.vm}` : undefined;
      }
      // V(M) of the one who asks may lag behind, by points that are on the way to it.
      return own && message.kind === "abandon" && message.serial !== state.vm
        ? `resync:${state.vm}`
        : undefined;
    }
    case "activity-start":
    case "activity-resume":
      if (state.activity !== undefined) return "in-activity";
      if (message.type === "activity-start") return undefined;
      return message.serial < MAX_SERIAL - 1 ? undefined : "serials";
    case "activity-interrupt":
    case "activity-discard":
      return own && state.activity === undefined ? "no-activity" : undefined;
    case "exception":
      return own && (tokensHeld(agreement, state, sender) & TOKEN_DATA) !== 0 ? "turn-held" : undefined;
    case "finish":
      if (state.activity !== undefined) return "activity";
      return own && state.exchange !== undefined ? "purge-first" : undefined;
    case "finish-ack":
    case "finish-refused":
      return state.finish === other ? undefined : "no-finish";
    case "resync-ack":
    case "activity-interrupt-ack":
    case "activity-discard-ack":
      return "no-answer";
  }
}

function inside(agreement: Agreement, state: DialogState): boolean {
  return (agreement.units & UNIT.activity) === 0 || state.activity !== undefined;
}

const TOKEN_NAMES = Object.entries(TOKEN);

function tokenNames(tokens: number): string {
  return TOKEN_NAMES.filter(([, bit]) => (tokens & bit) !== 0)
    .map(([name]) => name)
    .join("+");
}

function answer(agreement: Agreement, state: DialogState, side: Side): Message | undefined {
  const { exchange } = state;
  if (exchange === undefined || exchange.by === side) return undefined;
  if (exchange.purge === "interrupt" || exchange.purge === "discard")
    return { type: `activity-${exchange.purge}-ack` };
  const tokens = settle(exchange.placement, tokensOf(agreement.units), state.tokens);
  return { type: "resync-ack", serial: answerSerial(state, exchange), tokens };
}

/** All the rules of X.225 that hold here. */
export const fullRules: Rules = { objection, apply, voids, purgeOf, isPurging, answer };
