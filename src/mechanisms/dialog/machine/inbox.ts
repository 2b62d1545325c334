import type { Credit } from "../frames.ts";
import { BOUND_CONTROL } from "../numbers.ts";

/**
 * What was received, by number:
 *
 *     ackable ≤ committed ≤ expected, committed ≤ applied
 *
 * `applied` is above `expected` only after a restart, while the other side repeats what has changed the state already.
 */
export class Inbox {
  /** The number that comes next. */
  expected: number;
  /** State changes below have been made. */
  applied: number;
  /** What the other side may be told: committed, and safe if there is a log. */
  ackable: number;
  // Content that the application has not committed.
  #numbers: number[] = [];
  #sizes: number[] = [];
  #head = 0;
  #bytes = 0;
  #control = 0;

  constructor(committed = 0, applied: number = committed) {
    this.expected = committed;
    this.applied = applied;
    this.ackable = committed;
  }

  /** Up to where the application is done; messages without content are done when their turn has come. */
  get committed(): number {
    return this.#numbers[this.#head] ?? this.expected;
  }

  /** Uncommitted content. */
  get waiting(): number {
    return this.#numbers.length - this.#head;
  }

  /** Takes content in; a reason when it is more than the other side was allowed. */
  content(size: number, credit: Credit): string | undefined {
    if (this.waiting >= credit.messages) return `messages:${credit.messages}`;
    if (this.#bytes + size > credit.bytes && this.waiting > 0) return `bytes:${credit.bytes}`;
    this.#numbers.push(this.expected);
    this.#sizes.push(size);
    this.#bytes += size;
    this.#passed();
    return undefined;
  }

  /** A message without content, or one that is purged; `upTo` for a gap. */
  control(upTo: number = this.expected): string | undefined {
    this.expected = upTo;
    this.#control = this.waiting === 0 ? 0 : this.#control + 1;
    this.#passed();
    return this.#control > 2 * BOUND_CONTROL ? "control" : undefined;
  }

  commit(number: number): void {
    while (this.#head < this.#numbers.length && (this.#numbers[this.#head] ?? 0) <= number)
      this.#bytes -= this.#sizes[this.#head++] ?? 0;
    this.#control = 0;
    if (this.#head > 512 && this.#head * 2 > this.#numbers.length) {
      this.#numbers.splice(0, this.#head);
      this.#sizes.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Everything received counts as done. */
  purge(): void {
    this.commit(this.expected);
  }

  #passed(): void {
    this.expected++;
    if (this.expected > this.applied) this.applied = this.expected;
  }
}
