import type { ByteWriter } from "../../../wire/varint.ts";
import { contentSize, writeFrame } from "../codec.ts";
import type { Credit } from "../frames.ts";
import { BOUND } from "../frames.ts";

/** A numbered message as it goes on the wire, and into a log. */
export interface Entry {
  readonly number: number;
  readonly frame: Uint8Array;
}

/**
 * What was accepted and not yet acknowledged, in order of its numbers:
 *
 *     acked ≤ head … tx … top ≤ released ≤ sent
 *
 * `head` to `top` are in memory; with a log behind it, what is not in memory is read from there when its turn comes.
 * From `released` on, the log does not have it yet, and it must not be sent.
 */
export class Outbox {
  acked = 0;
  tx = 0;
  released = 0;
  sent = 0;
  /** Content below is taken back (`purged`) or given up (`dropped`); a GAP takes its place on the wire. */
  purgedBelow = 0;
  droppedBelow = 0;
  readonly #logged: boolean;
  readonly #memoryBytes: number;
  #active = false;
  #head = 0;
  /** From `#start` on; what lies before was let go of, and is cut off now and then. */
  #frames: Uint8Array[] = [];
  #start = 0;
  #bytes = 0;
  #resumeAt = 0;
  #credit: Credit = { messages: 0, bytes: 0 };
  // What is on its way: last number, bytes of content or −1, in order.
  #flightTo: number[] = [];
  #flightSize: number[] = [];
  #flightHead = 0;
  #flightMessages = 0;
  #flightBytes = 0;
  #flightControl = 0;

  constructor(options: { logged: boolean; memoryBytes: number }) {
    this.#logged = options.logged;
    this.#memoryBytes = options.memoryBytes;
  }

  /** Bytes of frames in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  get full(): boolean {
    return this.#bytes >= this.#memoryBytes;
  }

  get #top(): number {
    return this.#head + this.#frames.length - this.#start;
  }

  /** The number to read the log from, when what is to be sent next is only there. */
  get wanted(): number | undefined {
    if (!this.#logged || this.tx < this.droppedBelow) return undefined;
    return this.tx === this.#top && this.tx < this.released ? this.tx : undefined;
  }

  accept(frame: Uint8Array): number {
    const number = this.sent++;
    if (!this.#logged) this.released = this.sent;
    // With a log, nothing is held for a peer that is away.
    if (this.#top === number && (!this.#logged || (this.#active && !this.full))) this.#hold(frame);
    return number;
  }

  /** Entries read from the log, from `wanted` on, or those that are on their way into it. */
  refill(entries: readonly Entry[]): void {
    for (const entry of entries) if (entry.number === this.#top) this.#hold(entry.frame);
  }

  /** A link is there: go on at `next`, and count as under way what lies between the acknowledged and that. */
  begin(next: number, credit: Credit): void {
    this.#active = true;
    this.#credit = credit;
    this.#resumeAt = next;
    this.#forgetFlight();
    this.tx = this.acked;
    if (this.#logged && this.#head > this.tx) this.#empty(this.tx);
  }

  /** No link: with a log there is no need to hold anything. */
  end(): void {
    this.#active = false;
    this.#forgetFlight();
    if (this.#logged) this.#empty(this.tx);
  }

  grant(credit: Credit): void {
    this.#credit = credit;
  }

  /** The highest number an acknowledgement may name. */
  get reached(): number {
    return Math.max(this.tx, Math.min(this.#resumeAt, this.sent));
  }

  acknowledge(next: number): void {
    this.acked = next;
    this.tx = Math.max(this.tx, next);
    this.#discard(next);
    if (this.#head < next) this.#head = next;
    while (this.#flightHead < this.#flightTo.length && (this.#flightTo[this.#flightHead] ?? 0) < next) {
      this.#land(this.#flightSize[this.#flightHead++] ?? 0);
    }
    if (this.#flightHead > 1024 && this.#flightHead * 2 > this.#flightTo.length) {
      this.#flightTo.splice(0, this.#flightHead);
      this.#flightSize.splice(0, this.#flightHead);
      this.#flightHead = 0;
    }
  }

  /** Only the newest `keep` of a feed are kept, and a few more, so that not every message moves the rest. */
  dropOldest(keep: number): boolean {
    if (this.sent - Math.max(this.droppedBelow, this.acked) <= keep + (keep >> 3)) return false;
    this.droppedBelow = this.sent - keep;
    this.#discard(this.droppedBelow);
    return true;
  }

  /** Puts into `out` what may be sent now, until it holds `maxBytes`. True when there was anything. */
  write(out: ByteWriter, maxBytes: number): boolean {
    const before = out.length;
    while (out.length < maxBytes && this.tx < this.released) {
      if (this.#writeGap(out)) continue;
      const frame = this.#frames[this.#start + this.tx - this.#head];
      if (frame === undefined) break;
      const size = contentSize(frame);
      const already = this.tx < this.#resumeAt;
      if (!already && (this.#isHeld(size) || !this.#admits(size))) break;
      this.#fly(this.tx, size);
      if (!already) out.raw(frame);
      this.tx++;
    }
    // What is sent can be read from the log again, should the link be lost.
    if (this.#logged && this.full) this.#discard(this.tx);
    return out.length > before;
  }

  /** Whether `write` would have something to do. */
  get ready(): boolean {
    if (this.tx >= this.released) return false;
    if (this.tx < Math.max(this.droppedBelow, this.#resumeAt))
      return this.tx < this.droppedBelow || this.tx < this.#top;
    const frame = this.#frames[this.#start + this.tx - this.#head];
    if (frame === undefined) return false;
    const size = contentSize(frame);
    if (size >= 0 && this.tx < this.purgedBelow) return !this.#isHeld(size);
    return this.#admits(size);
  }

  /** The content that must not be sent any more, as one GAP for as many numbers as follow each other. */
  #writeGap(out: ByteWriter): boolean {
    const from = this.tx;
    let to = from;
    const dropped = from < this.droppedBelow;
    if (dropped) {
      to = Math.min(this.droppedBelow, this.released);
    } else {
      while (to < this.purgedBelow && !this.#isHeld(0)) {
        const frame = this.#frames[this.#start + to - this.#head];
        if (frame === undefined || contentSize(frame) < 0) break;
        to++;
      }
    }
    // What the other side has already is behind us, whatever became of it here.
    if (to === from || (!dropped && from < this.#resumeAt)) return false;
    this.tx = to;
    if (this.#top < to) this.#empty(to);
    if (to <= this.#resumeAt) return true;
    const first = Math.max(from, this.#resumeAt);
    this.#fly(to - 1, -1);
    writeFrame(out, { type: "gap", from: first, to: to - 1, reason: dropped ? "dropped" : "purged" });
    return true;
  }

  /** Content whose purge is not safe yet: it can neither be sent any more nor be given up. */
  #isHeld(size: number): boolean {
    return size >= 0 && this.tx < this.purgedBelow && this.released <= this.purgedBelow;
  }

  #admits(size: number): boolean {
    if (size < 0) return this.#flightControl < BOUND.control;
    const { messages, bytes } = this.#credit;
    return (
      this.#flightMessages < messages && (this.#flightBytes + size <= bytes || this.#flightMessages === 0)
    );
  }

  #hold(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#bytes += frame.length;
  }

  #empty(at: number): void {
    this.#frames = [];
    this.#start = 0;
    this.#bytes = 0;
    this.#head = at;
  }

  /** Lets go of the frames below `number`. */
  #discard(number: number): void {
    const passed = Math.min(number - this.#head, this.#frames.length - this.#start);
    if (passed <= 0) return;
    for (let index = this.#start; index < this.#start + passed; index++) {
      this.#bytes -= this.#frames[index]?.length ?? 0;
      this.#frames[index] = GONE;
    }
    this.#start += passed;
    this.#head += passed;
    if (this.#start > 1024 && this.#start * 2 > this.#frames.length) {
      this.#frames.splice(0, this.#start);
      this.#start = 0;
    }
  }

  #fly(to: number, size: number): void {
    this.#flightTo.push(to);
    this.#flightSize.push(size);
    if (size < 0) this.#flightControl++;
    else {
      this.#flightMessages++;
      this.#flightBytes += size;
    }
  }

  #land(size: number): void {
    if (size < 0) this.#flightControl--;
    else {
      this.#flightMessages--;
      this.#flightBytes -= size;
    }
  }

  #forgetFlight(): void {
    this.#flightTo = [];
    this.#flightSize = [];
    this.#flightHead = 0;
    this.#flightMessages = this.#flightBytes = this.#flightControl = 0;
  }
}

const GONE = new Uint8Array(0);
