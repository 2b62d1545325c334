/** Something that can be in one `Members`; `seat` is that collection's own business. Begin with -1. */
export interface Member {
  seat: number;
}

/**
 * Who is there at the moment, in no order. For objects that come and go by the thousand: a `Set` or a `Map` copies itself
 * every few departures, and the copies it leaves behind keep what was in them alive until the next full collection.
 */
export class Members<T extends Member> implements Iterable<T> {
  readonly #seats: T[] = [];

  get size(): number {
    return this.#seats.length;
  }

  add(member: T): void {
    if (member.seat >= 0) return;
    member.seat = this.#seats.length;
    this.#seats.push(member);
  }

  delete(member: T): void {
    const { seat } = member;
    if (this.#seats[seat] !== member) return;
    member.seat = -1;
    const last = this.#seats.pop();
    if (last === undefined || last === member) return;
    this.#seats[seat] = last;
    last.seat = seat;
  }

  /** Those who are there now, whoever comes or goes on the way. */
  [Symbol.iterator](): Iterator<T> {
    return [...this.#seats].values();
  }
}
