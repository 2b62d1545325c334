import type { ByteWriter } from "../../../wire/varint.ts";
import type { Credit } from "../frames.ts";
import type { Entry } from "./outbox.ts";
import { Outbox } from "./outbox.ts";

/**
 * An outbox with a log behind it, or one that gives up the oldest of a feed:
 *
 *     acked ≤ head … tx … top ≤ released ≤ sent
 *
 * `head` to `top` are in memory; with a log, what is not in memory is read from there when its turn comes. From `released`
 * on, the log does not have it yet, and it must not be sent.
 */
export class ServerOutbox extends Outbox {
  /** Content below is given up; a GAP takes its place on the wire. */
  droppedBelow = 0;
  readonly #logged: boolean;
  #active = false;

  constructor(memoryBytes: number, logged: boolean) {
    super(memoryBytes);
    this.#logged = logged;
  }

  /** The number to read the log from, when what is to be sent next is only there. */
  get wanted(): number | undefined {
    if (!this.#logged || this.tx < this.droppedBelow) return undefined;
    return this.tx === this.top && this.tx < this.released ? this.tx : undefined;
  }

  override accept(frame: Uint8Array): number {
    if (!this.#logged) return super.accept(frame);
    const number = this.sent++;
    // Nothing is held for a peer that is away.
    if (this.top === number && this.#active && !this.full) this.hold(frame);
    return number;
  }

  /** Entries read from the log, from `wanted` on, or those that are on their way into it. */
  refill(entries: readonly Entry[]): void {
    for (const entry of entries) if (entry.number === this.top) this.hold(entry.frame);
  }

  override begin(next: number, credit: Credit): void {
    super.begin(next, credit);
    this.#active = true;
    if (this.#logged && this.head > this.tx) this.empty(this.tx);
  }

  override end(): void {
    super.end();
    this.#active = false;
    // With a log there is no need to hold anything.
    if (this.#logged) this.empty(this.tx);
  }

  /** Only the newest `keep` of a feed are kept, and a few more, so that not every message moves the rest. */
  dropOldest(keep: number): boolean {
    if (this.sent - Math.max(this.droppedBelow, this.acked) <= keep + (keep >> 3)) return false;
    this.droppedBelow = this.sent - keep;
    this.discard(this.droppedBelow);
    return true;
  }

  override write(out: ByteWriter, maxBytes: number): void {
    super.write(out, maxBytes);
    // What is sent can be read from the log again, should the link be lost.
    if (this.#logged && this.full) this.discard(this.tx);
  }

  override get ready(): boolean {
    return (this.tx < this.released && this.tx < this.droppedBelow) || super.ready;
  }

  protected override writeGap(out: ByteWriter): boolean {
    const to = Math.min(this.droppedBelow, this.released);
    if (this.tx >= this.droppedBelow || to === this.tx) return super.writeGap(out);
    this.gap(out, to, "dropped");
    return true;
  }

  protected override isHeld(size: number): boolean {
    return size >= 0 && this.tx < this.purgedBelow && this.released <= this.purgedBelow;
  }
}
