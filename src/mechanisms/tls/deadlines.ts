import type { Clock } from "../../kernel/index.ts";

/** Many short waits of one length, nearly all of which are called off: with one timer among them. */
export class Deadlines {
  readonly #clock: Clock;
  readonly #ms: number;
  /** By when, in the order they were set. */
  readonly #waiting = new Map<() => void, number>();
  #isArmed = false;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  set(run: () => void): void {
    this.#waiting.set(run, this.#clock.now() + this.#ms);
    if (!this.#isArmed) this.#arm(this.#ms);
  }

  clear(run: () => void): void {
    this.#waiting.delete(run);
  }

  #arm(ms: number): void {
    this.#isArmed = true;
    this.#clock.after(ms, () => {
      this.#isArmed = false;
      const now = this.#clock.now();
      for (const [run, at] of this.#waiting) {
        if (at > now) return this.#arm(at - now);
        this.#waiting.delete(run);
        run();
      }
    });
  }
}
