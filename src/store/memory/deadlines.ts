import { SortedBlocks } from "./sorted-blocks.ts";

/** Something with a deadline. `seat` is the collection's own business. */
export interface Due {
  due: number | undefined;
  seat: number;
}

/**
 * What is due when, in buckets of about a second. Coming and going touches the end of a bucket; it is put in order when
 * its time has come, which most sessions do not live to see.
 */
export class Deadlines<T extends Due> {
  readonly #buckets = new Map<number, Bucket<T>>();
  readonly #order = new SortedBlocks<number>((a, b) => a - b);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Moves `item` from where it stands, if it has a deadline, to `due`. */
  move(item: T, due: number | undefined): void {
    if (item.due === due) return;
    if (item.due !== undefined) this.#take(item, bucketOf(item.due));
    item.due = due;
    if (due !== undefined) this.#put(item, bucketOf(due));
  }

  /** Nearest first, until after `now`. */
  *until(now: number): Generator<T> {
    const last = bucketOf(now);
    for (const at of this.#order.walk()) {
      if (at > last) return;
      for (const item of this.#buckets.get(at)?.inOrder() ?? []) {
        if (item.due === undefined || item.due > now) return;
        yield item;
      }
    }
  }

  #put(item: T, at: number): void {
    let bucket = this.#buckets.get(at);
    if (bucket === undefined) {
      this.#buckets.set(at, (bucket = new Bucket()));
      this.#order.add(at);
    }
    bucket.add(item);
    this.#size += 1;
  }

  #take(item: T, at: number): void {
    const bucket = this.#buckets.get(at);
    if (bucket === undefined) return;
    bucket.delete(item);
    this.#size -= 1;
    if (bucket.size > 0) return;
    this.#buckets.delete(at);
    this.#order.delete(at);
  }
}

class Bucket<T extends Due> {
  /** Who has gone leaves a hole, so that the order of the others stands. */
  #items: (T | undefined)[] = [];
  #first = 0;
  #sorted = true;
  size = 0;

  add(item: T): void {
    if (this.#sorted && this.size > 0)
      this.#sorted = (this.#items.at(-1)?.due ?? Infinity) <= (item.due ?? 0);
    item.seat = this.#items.length;
    this.#items.push(item);
    this.size += 1;
  }

  delete(item: T): void {
    this.size -= 1;
    if (item.seat === this.#items.length - 1) this.#items.pop();
    else this.#items[item.seat] = undefined;
    if (this.#items.length > 2 * this.size + FEW) this.#close();
  }

  *inOrder(): Generator<T> {
    if (!this.#sorted) this.#sort();
    for (let at = this.#first; at < this.#items.length; at++) {
      const item = this.#items[at];
      if (item !== undefined) yield item;
      else if (at === this.#first) this.#first += 1;
    }
  }

  #sort(): void {
    this.#sorted = true;
    this.#seat(this.#there().sort((a, b) => (a.due ?? 0) - (b.due ?? 0)));
  }

  /** Closes the holes. */
  #close(): void {
    this.#seat(this.#there());
  }

  #there(): T[] {
    return this.#items.filter((item) => item !== undefined);
  }

  #seat(items: T[]): void {
    for (const [seat, item] of items.entries()) item.seat = seat;
    this.#items = items;
    this.#first = 0;
  }
}

function bucketOf(at: number): number {
  return Math.floor(at / BUCKET_MS);
}

const BUCKET_MS = 1_024;
const FEW = 16;
