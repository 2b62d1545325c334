import { SortedBlocks } from "./sorted-blocks.ts";

interface Ticket {
  readonly key: string;
  readonly value: Uint8Array;
  readonly expiresAt: number;
}

/** Values for exactly one taker. What has expired goes when the next one is put. */
export class Tickets {
  readonly #byKey = new Map<string, Ticket>();
  readonly #byExpiry = new SortedBlocks<Ticket>(
    (a, b) => a.expiresAt - b.expiresAt || (a.key < b.key ? -1 : a.key > b.key ? 1 : 0),
  );

  get size(): number {
    return this.#byKey.size;
  }

  put(key: string, value: Uint8Array, expiresAt: number, now: number): boolean {
    this.#forget(now);
    if (this.#byKey.has(key)) return false;
    const ticket = { key, value: value.slice(), expiresAt };
    this.#byKey.set(key, ticket);
    this.#byExpiry.add(ticket);
    return true;
  }

  take(key: string, now: number): Uint8Array | undefined {
    const ticket = this.drop(key);
    return ticket === undefined || ticket.expiresAt <= now ? undefined : ticket.value;
  }

  peek(key: string, now: number): Uint8Array | undefined {
    const ticket = this.#byKey.get(key);
    return ticket === undefined || ticket.expiresAt <= now ? undefined : ticket.value.slice();
  }

  drop(key: string): Ticket | undefined {
    const ticket = this.#byKey.get(key);
    if (ticket === undefined) return undefined;
    this.#byKey.delete(key);
    this.#byExpiry.delete(ticket);
    return ticket;
  }

  #forget(now: number): void {
    for (;;) {
      const oldest = this.#byExpiry.first();
      if (oldest === undefined || oldest.expiresAt > now) return;
      this.drop(oldest.key);
    }
  }
}
