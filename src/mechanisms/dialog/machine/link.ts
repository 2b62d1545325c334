import type { ByteWriter } from "../../../wire/varint.ts";
import { writeFrame } from "../codec.ts";
import type { Credit, UnnumberedFrame } from "../frames.ts";
import { BOUND_URGENT_BYTES, BOUND_URGENT_OUTSTANDING } from "../numbers.ts";
import type { Refused } from "./events.ts";

/** What concerns one link and is forgotten with it: what is to be said without a number, and whether it is alive. */
export class LinkDuties {
  up = false;
  /** Tokens asked for, over as many links as it takes. */
  wanted = 0;
  /** Urgent messages not answered yet, theirs and ours. */
  urgentOut = 0;
  #urgentOwed = 0;
  #acked = 0;
  #ackDue = false;
  #frames: UnnumberedFrame[] = [];
  #heardAt = 0;
  #pingId = 0;
  #pinged = false;

  begin(now: number): void {
    this.up = true;
    // The first frame after RESUMED tells the other side that its new secret has arrived.
    this.#ackDue = true;
    this.#heardAt = now;
  }

  end(): void {
    this.up = false;
    this.#frames = [];
    this.urgentOut = this.#urgentOwed = 0;
    this.#pinged = false;
  }

  heard(now: number): void {
    this.#heardAt = now;
    this.#pinged = false;
  }

  say(frame: UnnumberedFrame): void {
    this.#frames.push(frame);
  }

  /** At most one answer a batch: a flood of pings must not become a flood of pongs. */
  pong(id: number): void {
    const last = this.#frames.at(-1);
    if (last?.type === "pong") this.#frames.pop();
    this.say({ type: "pong", id });
  }

  /** Whether a ping of that id was sent. */
  pinged(id: number): boolean {
    return id <= this.#pingId;
  }

  urgent(bytes: Uint8Array): Refused | undefined {
    if (bytes.length > BOUND_URGENT_BYTES) return { refused: `size:${BOUND_URGENT_BYTES}` };
    if (!this.up) return { refused: "no-link" };
    if (this.urgentOut >= BOUND_URGENT_OUTSTANDING) return { refused: "urgent" };
    this.urgentOut++;
    this.say({ type: "urgent", bytes });
    return undefined;
  }

  /** False when there are more than may be unanswered. */
  urgentCame(): boolean {
    return ++this.#urgentOwed <= BOUND_URGENT_OUTSTANDING;
  }

  ready(ackable: number): boolean {
    return this.#ackDue || ackable > this.#acked || this.#urgentOwed > 0 || this.#frames.length > 0;
  }

  write(out: ByteWriter, ackable: number, credit: Credit): void {
    if (this.#ackDue || ackable > this.#acked) {
      this.#ackDue = false;
      this.#acked = ackable;
      writeFrame(out, { type: "ack", next: ackable, credit });
    }
    if (this.#urgentOwed > 0) {
      writeFrame(out, { type: "urgent-ack", count: this.#urgentOwed });
      this.#urgentOwed = 0;
    }
    for (const frame of this.#frames) writeFrame(out, frame);
    if (this.#frames.length > 0) this.#frames = [];
  }

  /** When to look again, or −1 when the link is dead: nothing was heard, not even an answer to a ping. */
  tick(now: number, pingMs: number, sent: number, next: number): number {
    if (!this.up) return Infinity;
    const quietMs = now - this.#heardAt;
    if (quietMs >= 2 * pingMs) return -1;
    if (quietMs >= pingMs && !this.#pinged) {
      this.#pinged = true;
      this.say({ type: "ping", id: ++this.#pingId, sent, next });
    }
    return this.#heardAt + (this.#pinged ? 2 * pingMs : pingMs);
  }
}
