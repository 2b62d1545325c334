/**
 * A sorted set as a list of short sorted arrays: adding and removing costs two binary searches and the move of at most
 * a block, whatever the size. A tree would cost a node per element; this costs a pointer.
 */
export class SortedBlocks<T> {
  readonly #compare: (a: T, b: T) => number;
  #blocks: T[][] = [];
  #size = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#size;
  }

  /** False when an equal element is there already. */
  add(item: T): boolean {
    const at = Math.max(0, this.#blockOf(item));
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push([item]);
      this.#size += 1;
      return true;
    }
    const index = this.#lowerBound(block, item);
    const there = block[index];
    if (there !== undefined && this.#compare(there, item) === 0) return false;
    block.splice(index, 0, item);
    if (block.length > BLOCK) this.#blocks.splice(at + 1, 0, block.splice(BLOCK / 2));
    this.#size += 1;
    return true;
  }

  /** False when no equal element is there. */
  delete(item: T): boolean {
    const at = this.#blockOf(item);
    const block = this.#blocks[at];
    if (block === undefined) return false;
    const index = this.#lowerBound(block, item);
    const there = block[index];
    if (there === undefined || this.#compare(there, item) !== 0) return false;
    block.splice(index, 1);
    if (block.length === 0) this.#blocks.splice(at, 1);
    this.#size -= 1;
    return true;
  }

  first(): T | undefined {
    return this.#blocks[0]?.[0];
  }

  /** The elements in order, from the first one above `after`. Do not change the set while walking. */
  *walk(after?: T): Generator<T> {
    let at = after === undefined ? 0 : Math.max(0, this.#blockOf(after));
    let from = 0;
    const start = this.#blocks[at];
    if (after !== undefined && start !== undefined) {
      from = this.#lowerBound(start, after);
      const there = start[from];
      if (there !== undefined && this.#compare(there, after) === 0) from += 1;
    }
    for (; at < this.#blocks.length; at++, from = 0) {
      const block = this.#blocks[at] ?? [];
      for (let i = from; i < block.length; i++) yield block[i] as T;
    }
  }

  /** The last block whose first element is not above `item`; -1 when `item` is below everything. */
  #blockOf(item: T): number {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const first = this.#blocks[middle]?.[0];
      if (first !== undefined && this.#compare(first, item) <= 0) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #lowerBound(block: readonly T[], item: T): number {
    let low = 0;
    let high = block.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(block[middle] as T, item) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const BLOCK = 256;
