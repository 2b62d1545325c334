import type { Fault } from "../../../wire/fault.ts";
import { fault, isFault } from "../../../wire/fault.ts";
import { ByteWriter } from "../../../wire/varint.ts";
import type { ContentType } from "../codec.ts";
import { encodeContent, encodeFrame, FrameReader, isNumbered, writeFrame } from "../codec.ts";
import type { Credit, Frame, NumberedFrame, Position, UnnumberedFrame } from "../frames.ts";
import * as UNIT from "../units.ts";
import type { Agreement, Side } from "./agreement.ts";
import { tokensHeld, tokensOf } from "./agreement.ts";
import type { DialogEvent, Refused } from "./events.ts";
import { isRefused } from "./events.ts";
import { Inbox } from "./inbox.ts";
import { LinkDuties } from "./link.ts";
import type { MachineOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import type { Content, Message, Rules } from "./rules.ts";
import type { DialogState } from "./state.ts";
import { initialState } from "./state.ts";

/**
 * One side of a dialog: its numbering, its tokens and sync points, over any number of links. It has no socket and no
 * clock: bytes come in by `receive` and go out by `output`. What only a server needs, `ServerMachine` adds.
 */
export class DialogMachine {
  readonly side: Side;
  readonly agreement: Agreement;
  readonly #options: MachineOptions;
  readonly #rules: Rules;
  readonly #available: number;
  #events: DialogEvent[] = [];
  /** TOKEN-PLEASE is due, behind the message of that number. */
  #asking = false;
  #askFrom = 0;
  protected kept: DialogState;
  protected inbox: Inbox = new Inbox();
  protected readonly outbox: Outbox;
  protected readonly link: LinkDuties = new LinkDuties();
  protected sinceCheckpoint = 0;

  constructor(options: MachineOptions, outbox: Outbox = new Outbox(options.outboxBytes)) {
    this.#options = options;
    this.#rules = options.rules;
    this.side = options.side;
    this.agreement = options.agreement;
    this.#available = tokensOf(options.agreement.units);
    this.kept = initialState(options.agreement);
    this.outbox = outbox;
  }

  // ── what can be seen ────────────────────────────────────────────────────────────────────────────────────────

  get state(): Readonly<DialogState> {
    return this.kept;
  }

  /** Bits of the tokens this side has. */
  get tokens(): number {
    return tokensHeld(this.agreement, this.kept, this.side);
  }

  get linked(): boolean {
    return this.link.up;
  }

  /** How far own messages have come: accepted, safe where there is a log, and acknowledged. */
  get own(): Readonly<Record<"sent" | "released" | "acked", number>> {
    return this.outbox;
  }

  /** Own messages not yet acknowledged. */
  get backlog(): number {
    return this.outbox.sent - this.outbox.acked;
  }

  /** Up to where the application is done with what has come. */
  get committed(): number {
    return this.inbox.committed;
  }

  /** Content received and not yet committed. */
  get waiting(): number {
    return this.inbox.waiting;
  }

  /** False while the outbox is full or too many sync points are unconfirmed: content should wait. */
  get writable(): boolean {
    return !this.outbox.full && this.withinWindow;
  }

  /** X.228 §7.2: no more sync points are unconfirmed than were agreed on. */
  protected get withinWindow(): boolean {
    const { checkpointWindow } = this.agreement;
    const { va, vm, confirmer } = this.kept;
    return checkpointWindow === 0 || confirmer === this.side || vm - va < checkpointWindow;
  }

  /** Finished, and both sides know it. */
  get settled(): boolean {
    return this.kept.finished && this.outbox.acked === this.outbox.sent;
  }

  get position(): Position {
    return { next: this.inbox.expected, committed: this.inbox.ackable, sent: this.outbox.sent };
  }

  /** Why `message` cannot be sent now; `undefined` when it can. */
  objection(message: Message): string | undefined {
    return this.#rules.objection(this.agreement, this.kept, message, this.side, true);
  }

  // ── links ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** A link was agreed on: the peer stands at `peer`. A fault when the two cannot go on from there. */
  linkUp(peer: Position, credit: Credit, now: number): Fault | undefined {
    const outbox = this.outbox;
    if (peer.next < outbox.acked || peer.next > outbox.sent || peer.committed > peer.next)
      return misbehaved(`next:${peer.next}:${outbox.acked}:${outbox.sent}`);
    if (peer.sent < this.inbox.expected) return misbehaved(`sent:${peer.sent}:${this.inbox.expected}`);
    this.linkDown();
    if (peer.committed > outbox.acked) this.#acknowledged(peer.committed);
    outbox.begin(peer.next, credit);
    this.link.wanted &= ~this.tokens;
    this.#asking = this.link.wanted !== 0;
    this.link.begin(now);
    return undefined;
  }

  linkDown(): void {
    if (!this.link.up) return;
    this.link.end();
    this.outbox.end();
  }

  /** One message of the binding: whole frames. After a fault the dialog must be aborted. */
  receive(bytes: Uint8Array, now: number): Fault | undefined {
    if (!this.link.up) return misbehaved("early");
    this.link.heard(now);
    const reader = new FrameReader(bytes, this.agreement.maxMessageBytes);
    for (;;) {
      const frame = reader.next();
      if (frame === undefined) return undefined;
      if (isFault(frame)) return frame;
      const why = isNumbered(frame) ? this.#numbered(frame) : this.#unnumberedIn(frame);
      if (why !== undefined) return misbehaved(why);
      if (!this.link.up) return undefined;
    }
  }

  /** Bytes to put on the link as one message; `undefined` when there is nothing to say. */
  output(maxBytes: number): Uint8Array | undefined {
    if (!this.link.up) return undefined;
    this.link.write(scratch, this.inbox.ackable, this.#options.credit);
    this.outbox.write(scratch, maxBytes);
    if (this.#mayAsk) {
      this.#asking = false;
      writeFrame(scratch, { type: "token-please", tokens: this.link.wanted });
    }
    return scratch.length === 0 ? undefined : scratch.take();
  }

  get hasOutput(): boolean {
    return this.link.up && (this.link.ready(this.inbox.ackable) || this.outbox.ready || this.#mayAsk);
  }

  /** Not before what was sent until then: a token that is on its way away would be asked for where it is not yet. */
  get #mayAsk(): boolean {
    return this.#asking && this.link.wanted !== 0 && this.outbox.tx >= this.#askFrom;
  }

  /** Looks at the time; returns when to look again. */
  tick(now: number): number {
    const next = this.link.tick(now, this.#options.pingMs, this.outbox.reached, this.inbox.expected);
    if (next >= 0) return next;
    this.#events.push({ type: "quiet" });
    return Infinity;
  }

  takeEvents(): readonly DialogEvent[] {
    return this.#events.length === 0 ? NOTHING : this.#events.splice(0);
  }

  // ── what the user may ask for ───────────────────────────────────────────────────────────────────────────────

  /** Accepts content; its number, or why not. It is the caller's to wait until `writable`. */
  send(kind: ContentType, bytes: Uint8Array): number | Refused {
    const refused = this.objection({ type: kind, bytes });
    if (refused !== undefined) return { refused };
    const number = this.accept(encodeContent(kind, bytes));
    this.#checkpoint(bytes.length);
    return number;
  }

  /** Sends a message without content; its number, or why not. */
  request(message: Message): number | Refused {
    const refused = this.objection(message);
    if (refused !== undefined) return { refused };
    this.#rules.apply(this.agreement, this.kept, message, this.side);
    const number = this.accept(encodeFrame(message));
    if (message.type === "exception") this.inbox.purge();
    else if (this.#rules.isPurging(message)) {
      this.inbox.purge();
      this.outbox.purgedBelow = number;
    }
    this.settleInbox();
    return number;
  }

  /** Answers the purge the other side has asked for; false when there is none. */
  answerPurge(): boolean {
    const answer = this.#rules.answer(this.agreement, this.kept, this.side);
    return answer !== undefined && !isRefused(this.request(answer));
  }

  /** Everything up to `number` is done with. */
  commit(number: number): void {
    if (number < this.inbox.committed) return;
    this.inbox.commit(number);
    this.settleInbox();
  }

  /** X.215 §13.5: asks for tokens; asked again over the next link until they come. */
  please(tokens: number): Refused | undefined {
    const wanted = tokens & this.#available & ~this.tokens;
    if (wanted === 0) return { refused: "no-token" };
    this.link.wanted |= wanted;
    this.#asking = true;
    this.#askFrom = this.outbox.sent;
    return undefined;
  }

  /** Overtakes everything; at most 8 unanswered, and none survives its link. */
  urgent(bytes: Uint8Array): Refused | undefined {
    if ((this.agreement.units & UNIT.urgent) === 0) return { refused: "unagreed:urgent" };
    return this.link.urgent(bytes);
  }

  /** SUSPEND, MIGRATE or ABORT: goes out with the next output, after which the host closes the link. */
  farewell(frame: Extract<UnnumberedFrame, { type: "suspend" | "migrate" | "abort" }>): void {
    if (this.link.up) this.link.say(frame);
  }

  // ── receiving ───────────────────────────────────────────────────────────────────────────────────────────────

  #numbered(frame: NumberedFrame): string | undefined {
    const number = this.inbox.expected;
    if (number >= LAST_NUMBER) return "numbers";
    if (frame.type === "gap") return this.#gap(frame);
    const peer: Side = this.side === 0 ? 1 : 0;
    const said = isContent(frame);
    // X.215 §13.11: what comes before the other side has dealt with an own exception is void.
    const isVoid = said && this.kept.exception === this.side;
    if (this.kept.exchange?.by === this.side ? this.#rules.voids(this.kept, frame, peer) : isVoid)
      return this.#consumed();
    if (number < this.inbox.applied) {
      // A repeat of what had changed the state before this side was restarted; content is for the application again.
      return said ? this.#content(frame, number) : this.#consumed();
    }
    const why = this.#rules.objection(this.agreement, this.kept, frame, peer, false);
    if (why !== undefined) return why;
    if (said) return this.#content(frame, number);
    this.#rules.apply(this.agreement, this.kept, frame, peer);
    const purged = this.#rules.purgeOf(frame, peer) !== undefined;
    if (purged) this.inbox.purge();
    if (frame.type === "token-give") this.link.wanted &= ~frame.tokens;
    this.#events.push({ type: "indication", number, message: frame, purged });
    return this.#consumed();
  }

  /** The message that has come needs no commitment by the application. */
  #consumed(upTo?: number): string | undefined {
    const tooMuch = this.inbox.control(upTo);
    this.settleInbox();
    return tooMuch;
  }

  #content(frame: Content, number: number): string | undefined {
    this.#events.push({ type: "content", kind: frame.type, number, bytes: frame.bytes });
    return this.inbox.content(frame.bytes.length, this.#options.credit);
  }

  #gap(frame: Extract<NumberedFrame, { type: "gap" }>): string | undefined {
    const { expected } = this.inbox;
    if (frame.from !== expected || frame.to < frame.from || frame.to >= LAST_NUMBER)
      return `missed:${frame.from}:${frame.to}:${expected}`;
    // Only a feed drops, and only what can purge takes back.
    const able = frame.reason === "dropped" ? UNIT.simplexDown | UNIT.simplexUp : UNIT.resync | UNIT.activity;
    if ((this.agreement.units & able) === 0) return `gap:${frame.reason}`;
    if (frame.reason === "dropped") this.#events.push({ type: "gap", from: frame.from, to: frame.to });
    return this.#consumed(frame.to);
  }

  #unnumberedIn(frame: Exclude<Frame, NumberedFrame>): string | undefined {
    const outbox = this.outbox;
    switch (frame.type) {
      case "ack":
        if (frame.next < outbox.acked || frame.next > outbox.reached)
          return `ack:${frame.next}:${outbox.acked}:${outbox.reached}`;
        outbox.grant(frame.credit);
        if (frame.next > outbox.acked) this.#acknowledged(frame.next);
        return undefined;
      case "token-please":
        if ((frame.tokens & ~this.#available) !== 0 || frame.tokens === 0) return "no-token";
        // Those that are on their way to it already need no answer.
        if ((frame.tokens & this.tokens) !== 0)
          this.#events.push({ type: "please", tokens: frame.tokens & this.tokens });
        return undefined;
      case "ping":
        if (frame.sent !== this.inbox.expected) return `sent:${frame.sent}:${this.inbox.expected}`;
        this.link.pong(frame.id);
        return undefined;
      case "pong":
        return this.link.pinged(frame.id) ? undefined : "pong";
      case "urgent":
        if ((this.agreement.units & UNIT.urgent) === 0) return "unagreed:urgent";
        if (!this.link.urgentCame()) return "urgent";
        this.#events.push({ type: "urgent", bytes: frame.bytes });
        return undefined;
      case "urgent-ack":
        if (frame.count > this.link.urgentOut) return "urgent-ack";
        this.link.urgentOut -= frame.count;
        this.#events.push({ type: "urgent-acked", count: frame.count });
        return undefined;
      case "suspend":
      case "migrate":
      case "abort":
        this.#events.push(frame);
        if (frame.type === "abort") this.linkDown();
        return undefined;
      default:
        return `late:${frame.type}`;
    }
  }

  #acknowledged(next: number): void {
    this.outbox.acknowledge(next);
    this.#events.push({ type: "acked", next });
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  protected accept(frame: Uint8Array): number {
    return this.outbox.accept(frame);
  }

  /** RTSE's checkpoint size (X.228 §7.2): a minor sync point after so many bytes, when this side may set one. */
  #checkpoint(bytes: number): void {
    const { checkpointBytes } = this.agreement;
    this.sinceCheckpoint += bytes;
    if (checkpointBytes === 0 || this.sinceCheckpoint < checkpointBytes) return;
    const minor: Message = { type: "minor", serial: this.kept.vm };
    if (this.objection(minor) !== undefined) return;
    this.sinceCheckpoint = 0;
    this.request(minor);
  }

  /** More may be committed than before. */
  protected settleInbox(): void {
    this.inbox.ackable = this.inbox.committed;
  }
}

function misbehaved(why: string): Fault {
  return fault("misbehaved", 0, why);
}

function isContent(frame: NumberedFrame): frame is Content {
  return frame.type === "data" || frame.type === "text" || frame.type === "typed";
}

const NOTHING: readonly DialogEvent[] = [];
/** Numbers stop short of 2^53, so that every position can be written. */
const LAST_NUMBER = Number.MAX_SAFE_INTEGER - 1;
/** Output is copied out of here before anything else runs. */
const scratch = new ByteWriter(65_536);
