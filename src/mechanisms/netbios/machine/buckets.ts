/** A token bucket for each address: so many requests a second, and as many again at once. Bounded in memory. */
export class Buckets {
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** False when `address` has had its share for now. */
  take(address: string, now: number): boolean {
    const known = this.#buckets.get(address);
    const passed = known === undefined ? Infinity : Math.max(now - known.at, 0) / 1000;
    const tokens = Math.min((known?.tokens ?? 0) + passed * this.#perSecond, this.#perSecond);
    // The address just heard goes to the end, so that the one silent for longest is forgotten first.
    this.#buckets.delete(address);
    this.#buckets.set(address, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    if (this.#buckets.size > MAX_ADDRESSES) {
      const oldest = this.#buckets.keys().next();
      if (oldest.done !== true) this.#buckets.delete(oldest.value);
    }
    return tokens >= 1;
  }
}

const MAX_ADDRESSES = 4096;
