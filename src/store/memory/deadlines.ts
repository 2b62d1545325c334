import { SortedBlocks } from "./sorted-blocks.ts";

/**
 * What is due when: the instants in order, and for each who is due then. Sorting plain numbers keeps a search within a
 * few cache lines, where sorting the rows themselves would visit one for every comparison.
 */
export class Deadlines<T extends object> {
  readonly #instants = new SortedBlocks<number>((a, b) => a - b);
  /** Most instants belong to one alone: those cost no set. */
  readonly #byInstant = new Map<number, T | Set<T>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(at: number, item: T): void {
    this.#size += 1;
    const there = this.#byInstant.get(at);
    if (there === undefined) {
      this.#byInstant.set(at, item);
      this.#instants.add(at);
    } else if (there instanceof Set) {
      there.add(item);
    } else {
      this.#byInstant.set(at, new Set([there, item]));
    }
  }

  delete(at: number, item: T): void {
    this.#size -= 1;
    const there = this.#byInstant.get(at);
    if (there instanceof Set) {
      there.delete(item);
      if (there.size > 0) return;
    }
    this.#byInstant.delete(at);
    this.#instants.delete(at);
  }

  /** Nearest first, until after `now`. */
  *until(now: number): Generator<T> {
    for (const at of this.#instants.walk()) {
      if (at > now) return;
      const there = this.#byInstant.get(at);
      if (there instanceof Set) yield* there;
      else if (there !== undefined) yield there;
    }
  }
}
