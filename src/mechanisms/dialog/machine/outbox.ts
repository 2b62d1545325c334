import type { ByteWriter } from "../../../wire/varint.ts";
import { contentSize, writeFrame } from "../codec.ts";
import type { Credit, GapReason } from "../frames.ts";
import { BOUND_CONTROL } from "../numbers.ts";

/** A numbered message as it goes on the wire, and into a log. */
export interface Entry {
  readonly number: number;
  readonly frame: Uint8Array;
}

/**
 * What was accepted and not yet acknowledged, in order of its numbers, all of it in memory:
 *
 *     acked = head ≤ tx ≤ top = released = sent
 */
export class Outbox {
  acked = 0;
  /** What goes on the link next. */
  tx = 0;
  /** May be sent below here. */
  released = 0;
  sent = 0;
  /** Content below is taken back; a GAP takes its place on the wire. */
  purgedBelow = 0;
  /** Bytes of frames in memory. */
  protected bytes = 0;
  protected head = 0;
  /** What the other side had already when the link began lies below. */
  protected resumeAt = 0;
  readonly #memoryBytes: number;
  /** From `#start` on; what lies before was let go of, and is cut off now and then. */
  #frames: Uint8Array[] = [];
  #start = 0;
  #credit: Credit = { messages: 0, bytes: 0 };
  // What is on its way: last number, bytes of content or −1, in order.
  #flightTo: number[] = [];
  #flightSize: number[] = [];
  #flightHead = 0;
  #flightMessages = 0;
  #flightBytes = 0;
  #flightControl = 0;

  constructor(memoryBytes: number) {
    this.#memoryBytes = memoryBytes;
  }

  get full(): boolean {
    return this.bytes >= this.#memoryBytes;
  }

  protected get top(): number {
    return this.head + this.#frames.length - this.#start;
  }

  accept(frame: Uint8Array): number {
    this.hold(frame);
    return (this.released = ++this.sent) - 1;
  }

  /** A link is there: go on at `next`, and count as under way what lies between the acknowledged and that. */
  begin(next: number, credit: Credit): void {
    this.#credit = credit;
    this.resumeAt = next;
    this.end();
    this.tx = this.acked;
  }

  /** No link: nothing is on its way. */
  end(): void {
    this.#flightTo = [];
    this.#flightSize = [];
    this.#flightHead = this.#flightMessages = this.#flightBytes = this.#flightControl = 0;
  }

  grant(credit: Credit): void {
    this.#credit = credit;
  }

  /** The highest number an acknowledgement may name. */
  get reached(): number {
    return Math.max(this.tx, Math.min(this.resumeAt, this.sent));
  }

  acknowledge(next: number): void {
    this.acked = next;
    this.tx = Math.max(this.tx, next);
    this.discard(next);
    if (this.head < next) this.head = next;
    while (this.#flightHead < this.#flightTo.length && (this.#flightTo[this.#flightHead] ?? 0) < next) {
      const size = this.#flightSize[this.#flightHead++] ?? 0;
      if (size < 0) this.#flightControl--;
      else {
        this.#flightMessages--;
        this.#flightBytes -= size;
      }
    }
    if (this.#flightHead > 1024 && this.#flightHead * 2 > this.#flightTo.length) {
      this.#flightTo.splice(0, this.#flightHead);
      this.#flightSize.splice(0, this.#flightHead);
      this.#flightHead = 0;
    }
  }

  /** Puts into `out` what may be sent now, until it holds `maxBytes`. */
  write(out: ByteWriter, maxBytes: number): void {
    while (out.length < maxBytes && this.tx < this.released) {
      if (this.writeGap(out)) continue;
      const frame = this.at(this.tx);
      if (frame === undefined) break;
      const size = contentSize(frame);
      const already = this.tx < this.resumeAt;
      if (!already && (this.isHeld(size) || !this.#admits(size))) break;
      this.fly(this.tx, size);
      if (!already) out.raw(frame);
      this.tx++;
    }
  }

  /** Whether `write` would have something to do. */
  get ready(): boolean {
    const frame = this.tx < this.released ? this.at(this.tx) : undefined;
    if (frame === undefined) return false;
    const size = contentSize(frame);
    if (this.tx < this.resumeAt) return true;
    return size >= 0 && this.tx < this.purgedBelow ? !this.isHeld(size) : this.#admits(size);
  }

  /** The content that must not be sent any more, as one GAP for as many numbers as follow each other. */
  protected writeGap(out: ByteWriter): boolean {
    let to = this.tx;
    // What the other side has already is behind us, whatever became of it here.
    if (to < this.resumeAt) return false;
    while (to < this.purgedBelow && !this.isHeld(0)) {
      const frame = this.at(to);
      if (frame === undefined || contentSize(frame) < 0) break;
      to++;
    }
    if (to === this.tx) return false;
    this.gap(out, to, "purged");
    return true;
  }

  /** The numbers from `tx` to before `to` will not come. */
  protected gap(out: ByteWriter, to: number, reason: GapReason): void {
    const from = Math.max(this.tx, this.resumeAt);
    this.tx = to;
    if (this.top < to) this.empty(to);
    if (to <= this.resumeAt) return;
    this.fly(to - 1, -1);
    writeFrame(out, { type: "gap", from, to: to - 1, reason });
  }

  /** Content whose purge is not safe yet: it can neither be sent any more nor be given up. */
  protected isHeld(_size: number): boolean {
    return false;
  }

  protected at(number: number): Uint8Array | undefined {
    return this.#frames[this.#start + number - this.head];
  }

  protected hold(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.bytes += frame.length;
  }

  protected empty(at: number): void {
    this.#frames = [];
    this.#start = 0;
    this.bytes = 0;
    this.head = at;
  }

  /** Lets go of the frames below `number`. */
  protected discard(number: number): void {
    const passed = Math.min(number - this.head, this.#frames.length - this.#start);
    if (passed <= 0) return;
    for (let index = this.#start; index < this.#start + passed; index++) {
      this.bytes -= this.#frames[index]?.length ?? 0;
      this.#frames[index] = GONE;
    }
    this.#start += passed;
    this.head += passed;
    if (this.#start > 1024 && this.#start * 2 > this.#frames.length) {
      this.#frames.splice(0, this.#start);
      this.#start = 0;
    }
  }

  protected fly(to: number, size: number): void {
    this.#flightTo.push(to);
    this.#flightSize.push(size);
    if (size < 0) this.#flightControl++;
    else {
      this.#flightMessages++;
      this.#flightBytes += size;
    }
  }

  #admits(size: number): boolean {
    if (size < 0) return this.#flightControl < BOUND_CONTROL;
    const { messages, bytes } = this.#credit;
    return (
      this.#flightMessages < messages && (this.#flightBytes + size <= bytes || this.#flightMessages === 0)
    );
  }
}

const GONE = new Uint8Array(0);
