import type { Fault } from "../../../wire/fault.ts";
import { fault, isFault } from "../../../wire/fault.ts";
import { ByteWriter } from "../../../wire/varint.ts";
import type { ContentType } from "../codec.ts";
import { encodeContent, encodeFrame, FrameReader, isNumbered } from "../codec.ts";
import type { Credit, Frame, NumberedFrame, Position, UnnumberedFrame } from "../frames.ts";
import { UNIT } from "../frames.ts";
import type { Agreement, Side } from "./agreement.ts";
import { tokensOf } from "./agreement.ts";
import { apply } from "./apply.ts";
import type { DialogEvent, Refused, Storage } from "./events.ts";
import { Inbox } from "./inbox.ts";
import { LinkDuties } from "./link.ts";
import type { MachineOptions } from "./options.ts";
import type { Entry } from "./outbox.ts";
import { Outbox } from "./outbox.ts";
import type { Message } from "./rules.ts";
import { gapObjection, objection, purgeOf, PURGING, purges, tokensHeld } from "./rules.ts";
import type { DialogState, Mark } from "./state.ts";
import { initialState } from "./state.ts";
import { Unstored } from "./unstored.ts";

/**
 * One side of a dialog: its numbering, its tokens and sync points, over any number of links. It has no socket, no clock
 * and no store: bytes come in by `receive`, go out by `output`, what must survive by `storage`.
 */
export class DialogMachine {
  readonly side: Side;
  readonly agreement: Agreement;
  readonly #options: MachineOptions;
  readonly #available: number;
  #state: DialogState;
  #inbox = new Inbox();
  readonly #outbox: Outbox;
  #events: DialogEvent[] = [];
  readonly #link = new LinkDuties();
  // the log
  readonly #unstored = new Unstored();
  #markDue = false;
  #sinceCheckpoint = 0;

  /** With `from`, as a log has it: the last mark, and how far the entries behind it go. */
  constructor(options: MachineOptions, from?: { readonly mark: Mark; readonly sent: number }) {
    this.#options = options;
    this.side = options.side;
    this.agreement = options.agreement;
    this.#available = tokensOf(options.agreement.units);
    this.#state = initialState(options.agreement);
    this.#outbox = new Outbox({ logged: options.logged, memoryBytes: options.outboxBytes });
    this.#markDue = options.logged;
    if (from !== undefined) this.#restore(from.mark, from.sent);
  }

  // ── what can be seen ────────────────────────────────────────────────────────────────────────────────────────

  get state(): Readonly<DialogState> {
    return this.#state;
  }

  /** Bits of the tokens this side has. */
  get tokens(): number {
    return tokensHeld(this.agreement, this.#state, this.side);
  }

  get linked(): boolean {
    return this.#link.up;
  }

  /** How far own messages have come: accepted, safe where there is a log, and acknowledged. */
  get own(): Readonly<Record<"sent" | "released" | "acked", number>> {
    return this.#outbox;
  }

  /** Own messages not yet acknowledged. */
  get backlog(): number {
    return this.#outbox.sent - this.#outbox.acked;
  }

  /** Content received and not yet committed. */
  get waiting(): number {
    return this.#inbox.waiting;
  }

  /** False while the outbox is full or too many sync points are unconfirmed: content should wait. */
  get writable(): boolean {
    const { keepNewest, outboxBytes, outboxMessages, logged } = this.#options;
    if (keepNewest !== undefined) return true;
    if (this.backlog >= outboxMessages) return false;
    if (logged ? this.#unstored.bytes >= outboxBytes : this.#outbox.full) return false;
    const { checkpointWindow } = this.agreement;
    const { va, vm, confirmer } = this.#state;
    return checkpointWindow === 0 || confirmer === this.side || vm - va < checkpointWindow;
  }

  /** Finished, and both sides know it. */
  get settled(): boolean {
    return this.#state.finished && this.#outbox.acked === this.#outbox.sent;
  }

  get position(): Position {
    return { next: this.#inbox.expected, committed: this.#inbox.ackable, sent: this.#outbox.sent };
  }

  /** Why `message` cannot be sent now; `undefined` when it can. */
  objection(message: Message): string | undefined {
    return objection(this.agreement, this.#state, message, this.side, true);
  }

  // ── links ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** A link was agreed on: the peer stands at `peer`. A fault when the two cannot go on from there. */
  linkUp(peer: Position, credit: Credit, now: number): Fault | undefined {
    const outbox = this.#outbox;
    if (peer.next < outbox.acked || peer.next > outbox.sent || peer.committed > peer.next)
      return fault(
        "misbehaved",
        0,
        `it wants ${peer.next} next, where ${outbox.acked} to ${outbox.sent} are possible`,
      );
    if (peer.sent < this.#inbox.expected)
      return fault(
        "misbehaved",
        0,
        `it has sent ${peer.sent}, of which ${this.#inbox.expected} were received`,
      );
    this.linkDown();
    if (peer.committed > outbox.acked) this.#acknowledged(peer.committed);
    outbox.begin(peer.next, credit);
    this.#link.wanted &= ~this.tokens;
    this.#link.begin(now);
    return undefined;
  }

  linkDown(): void {
    if (!this.#link.up) return;
    this.#link.end();
    this.#outbox.end();
  }

  /** One message of the binding: whole frames. After a fault the dialog must be aborted. */
  receive(bytes: Uint8Array, now: number): Fault | undefined {
    if (!this.#link.up) return fault("misbehaved", 0, "nothing may come before the link is agreed on");
    this.#link.heard(now);
    const reader = new FrameReader(bytes, this.agreement.maxMessageBytes);
    for (;;) {
      const frame = reader.next();
      if (frame === undefined) return undefined;
      if (isFault(frame)) return frame;
      const why = isNumbered(frame) ? this.#numbered(frame) : this.#unnumberedIn(frame);
      if (why !== undefined) return fault("misbehaved", 0, why);
      if (!this.#link.up) return undefined;
    }
  }

  /** Bytes to put on the link as one message; `undefined` when there is nothing to say. */
  output(maxBytes: number): Uint8Array | undefined {
    if (!this.#link.up) return undefined;
    this.#link.write(scratch, this.#inbox.ackable, this.#options.credit);
    this.#outbox.write(scratch, maxBytes);
    return scratch.length === 0 ? undefined : scratch.take();
  }

  get hasOutput(): boolean {
    return this.#link.up && (this.#link.ready(this.#inbox.ackable) || this.#outbox.ready);
  }

  /** Looks at the time; returns when to look again. */
  tick(now: number): number {
    const next = this.#link.tick(now, this.#options.pingMs, this.#outbox.reached, this.#inbox.expected);
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
    const number = this.#accept(encodeContent(kind, bytes));
    const { keepNewest } = this.#options;
    if (keepNewest !== undefined && this.#outbox.dropOldest(keepNewest)) this.#markDue = this.#options.logged;
    this.#checkpoint(bytes.length);
    return number;
  }

  /** Sends a message without content; its number, or why not. */
  request(message: Message): number | Refused {
    const refused = this.objection(message);
    if (refused !== undefined) return { refused };
    apply(this.agreement, this.#state, message, this.side);
    const number = this.#accept(encodeFrame(message));
    if (message.type === "exception") this.#inbox.purge();
    else if (PURGING.has(message.type)) {
      this.#inbox.purge();
      this.#outbox.purgedBelow = number;
    }
    this.#settleInbox();
    return number;
  }

  /** Everything up to `number` is done with. */
  commit(number: number): void {
    if (number < this.#inbox.committed) return;
    this.#inbox.commit(number);
    this.#settleInbox();
  }

  /** X.215 §13.5: asks for tokens; asked again over the next link until they come. */
  please(tokens: number): Refused | undefined {
    const wanted = tokens & this.#available & ~this.tokens;
    if (wanted === 0) return { refused: "no token was named that the other side has" };
    this.#link.wanted |= wanted;
    if (this.#link.up) this.#link.say({ type: "token-please", tokens: wanted });
    return undefined;
  }

  /** Overtakes everything; at most 8 unanswered, and none survives its link. */
  urgent(bytes: Uint8Array): Refused | undefined {
    if ((this.agreement.units & UNIT.urgent) === 0) return { refused: "urgent data was not agreed on" };
    return this.#link.urgent(bytes);
  }

  /** SUSPEND, MIGRATE or ABORT: goes out with the next output, after which the host closes the link. */
  farewell(frame: Extract<UnnumberedFrame, { type: "suspend" | "migrate" | "abort" }>): void {
    if (this.#link.up) this.#link.say(frame);
  }

  // ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** What has to be stored since the last call. */
  storage(): Storage | undefined {
    const { logged } = this.#options;
    if (!logged || (!this.#unstored.hasNew && !this.#markDue)) return undefined;
    const entries = this.#unstored.takeNew();
    const mark = this.#markDue ? this.#mark() : undefined;
    this.#markDue = false;
    const { sent, acked, droppedBelow } = this.#outbox;
    const receipt = { sent, committed: this.#inbox.committed };
    return { entries, mark, trim: Math.max(acked, Math.min(droppedBelow, sent)), receipt };
  }

  /** A `storage` is safe; earlier ones are as well. */
  stored(receipt: Storage["receipt"]): void {
    this.#outbox.released = receipt.sent;
    this.#inbox.ackable = Math.max(this.#inbox.ackable, receipt.committed);
    this.#unstored.settle(receipt.sent);
  }

  /** The number from which entries must be read off the log, to go on sending. */
  get wanted(): number | undefined {
    return this.#link.up ? this.#outbox.wanted : undefined;
  }

  refill(entries: readonly Entry[]): void {
    this.#outbox.refill(entries);
    this.#outbox.refill(this.#unstored.entries);
  }

  // ── receiving ───────────────────────────────────────────────────────────────────────────────────────────────

  #numbered(frame: NumberedFrame): string | undefined {
    const number = this.#inbox.expected;
    if (number >= LAST_NUMBER) return "the message numbers are used up";
    if (frame.type === "gap") return this.#gap(frame);
    const peer: Side = this.side === 0 ? 1 : 0;
    const isContent = frame.type === "data" || frame.type === "text" || frame.type === "typed";
    // X.215 §13.11: what comes before the other side has dealt with an own exception is void.
    const isVoid = isContent && this.#state.exception === this.side;
    if (this.#state.exchange?.by === this.side ? purges(this.#state, frame, peer) : isVoid)
      return this.#consumed();
    if (number < this.#inbox.applied) {
      // A repeat of what had changed the state before this side was restarted; content is for the application again.
      return isContent ? this.#content(frame, number) : this.#consumed();
    }
    const why = objection(this.agreement, this.#state, frame, peer, false);
    if (why !== undefined) return why;
    if (isContent) return this.#content(frame, number);
    apply(this.agreement, this.#state, frame, peer);
    const purged = purgeOf(frame, peer) !== undefined;
    if (purged) this.#inbox.purge();
    if (frame.type === "token-give") this.#link.wanted &= ~frame.tokens;
    this.#events.push({ type: "indication", number, message: frame, purged });
    return this.#consumed();
  }

  /** The message that has come needs no commitment by the application. */
  #consumed(upTo?: number): string | undefined {
    const tooMuch = this.#inbox.control(upTo);
    this.#settleInbox();
    return tooMuch;
  }

  #content(frame: Extract<NumberedFrame, { bytes: Uint8Array }>, number: number): string | undefined {
    this.#events.push({ type: "content", kind: frame.type, number, bytes: frame.bytes });
    return this.#inbox.content(frame.bytes.length, this.#options.credit);
  }

  #gap(frame: Extract<NumberedFrame, { type: "gap" }>): string | undefined {
    const { expected } = this.#inbox;
    if (frame.from !== expected || frame.to < frame.from || frame.to >= LAST_NUMBER)
      return `a gap from ${frame.from} to ${frame.to} where ${expected} was to come`;
    const why = gapObjection(this.agreement, frame.reason);
    if (why !== undefined) return why;
    if (frame.reason === "dropped") this.#events.push({ type: "gap", from: frame.from, to: frame.to });
    return this.#consumed(frame.to);
  }

  #unnumberedIn(frame: Exclude<Frame, NumberedFrame>): string | undefined {
    const outbox = this.#outbox;
    switch (frame.type) {
      case "ack":
        if (frame.next < outbox.acked || frame.next > outbox.reached)
          return `it acknowledges up to ${frame.next}, where ${outbox.acked} to ${outbox.reached} are possible`;
        outbox.grant(frame.credit);
        if (frame.next > outbox.acked) this.#acknowledged(frame.next);
        return undefined;
      case "token-please":
        if ((frame.tokens & ~this.#available) !== 0 || frame.tokens === 0)
          return "it asks for a token that does not exist";
        // Those that are on their way to it already need no answer.
        if ((frame.tokens & this.tokens) !== 0)
          this.#events.push({ type: "please", tokens: frame.tokens & this.tokens });
        return undefined;
      case "ping":
        if (frame.sent !== this.#inbox.expected)
          return `it has sent ${frame.sent} messages, and ${this.#inbox.expected} have come`;
        this.#link.pong(frame.id);
        return undefined;
      case "pong":
        return this.#link.pinged(frame.id) ? undefined : "it answers a ping that was not sent";
      case "urgent":
        if ((this.agreement.units & UNIT.urgent) === 0) return "urgent data was not agreed on";
        if (!this.#link.urgentCame()) return "more than 8 urgent messages are unanswered";
        this.#events.push({ type: "urgent", bytes: frame.bytes });
        return undefined;
      case "urgent-ack":
        if (frame.count > this.#link.urgentOut) return "it acknowledges urgent data that was not sent";
        this.#link.urgentOut -= frame.count;
        this.#events.push({ type: "urgent-acked", count: frame.count });
        return undefined;
      case "suspend":
      case "migrate":
      case "abort":
        this.#events.push(frame);
        if (frame.type === "abort") this.linkDown();
        return undefined;
      default:
        return `${frame.type} belongs to the opening of a link`;
    }
  }

  #acknowledged(next: number): void {
    this.#outbox.acknowledge(next);
    this.#events.push({ type: "acked", next });
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  #accept(frame: Uint8Array): number {
    const number = this.#outbox.accept(frame);
    if (this.#options.logged) this.#unstored.add({ number, frame });
    return number;
  }

  /** RTSE's checkpoint size (X.228 §7.2): a minor sync point after so many bytes, when this side may set one. */
  #checkpoint(bytes: number): void {
    const { checkpointBytes } = this.agreement;
    this.#sinceCheckpoint += bytes;
    if (checkpointBytes === 0 || this.#sinceCheckpoint < checkpointBytes) return;
    const minor: Message = { type: "minor", serial: this.#state.vm };
    if (this.objection(minor) !== undefined) return;
    this.#sinceCheckpoint = 0;
    this.request(minor);
  }

  #settleInbox(): void {
    if (this.#options.logged) this.#markDue = true;
    else this.#inbox.ackable = this.#inbox.committed;
  }

  #mark(): Mark {
    const { sent, acked, purgedBelow, droppedBelow } = this.#outbox;
    const { committed, applied } = this.#inbox;
    const state = { ...this.#state };
    return {
      committed,
      applied,
      sent,
      acked,
      purgedBelow,
      droppedBelow,
      sinceCheckpoint: this.#sinceCheckpoint,
      state,
    };
  }

  #restore(mark: Mark, sent: number): void {
    this.#state = { ...mark.state };
    this.#inbox = new Inbox(mark.committed, mark.applied);
    this.#sinceCheckpoint = mark.sinceCheckpoint;
    this.#markDue = false;
    const outbox = this.#outbox;
    outbox.sent = outbox.released = Math.max(sent, mark.sent);
    outbox.purgedBelow = mark.purgedBelow;
    outbox.droppedBelow = mark.droppedBelow;
    outbox.acknowledge(mark.acked);
  }
}

const NOTHING: readonly DialogEvent[] = [];
/** Numbers stop short of 2^53, so that every position can be written. */
const LAST_NUMBER = Number.MAX_SAFE_INTEGER - 1;
/** Output is copied out of here before anything else runs. */
const scratch = new ByteWriter(65_536);
