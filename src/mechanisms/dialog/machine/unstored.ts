import type { Entry } from "./outbox.ts";

/** Own messages on their way into the log: accepted, and not yet safe. */
export class Unstored {
  #entries: Entry[] = [];
  /** Those before this place were handed over already. */
  #handed = 0;
  bytes = 0;

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  get hasNew(): boolean {
    return this.#handed < this.#entries.length;
  }

  add(entry: Entry): void {
    this.#entries.push(entry);
    this.bytes += entry.frame.length;
  }

  /** What has come since the last call. */
  takeNew(): readonly Entry[] {
    const taken = this.#entries.slice(this.#handed);
    this.#handed = this.#entries.length;
    return taken;
  }

  /** Everything below `number` is safe. */
  settle(number: number): void {
    let count = 0;
    for (const entry of this.#entries) {
      if (entry.number >= number) break;
      this.bytes -= entry.frame.length;
      count++;
    }
    this.#entries.splice(0, count);
    this.#handed = Math.max(0, this.#handed - count);
  }
}
