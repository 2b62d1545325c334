/** One end of a conversation, whatever protocol carries it. Messages are counted by the number in their first four bytes. */
export interface Talker {
  /** A promise when it should be waited for before the next. */
  send(bytes: Uint8Array): Promise<unknown> | undefined;
  close(): void;
}

export interface Heard {
  received: number;
  lost: number;
  duplicated: number;
  reordered: number;
}

/** Notes what comes, by its number. */
export class Ear {
  readonly #seen: Uint8Array;
  #last = -1;
  #distinct = 0;
  received = 0;
  duplicated = 0;
  reordered = 0;
  /** Called with each message; for those who answer. */
  heard: (bytes: Uint8Array) => void = () => undefined;

  constructor(count: number) {
    this.#seen = new Uint8Array(count);
  }

  hear(bytes: Uint8Array): void {
    const number = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0);
    this.received++;
    if (this.#seen[number] === 1) this.duplicated++;
    else {
      this.#seen[number] = 1;
      this.#distinct++;
    }
    if (number < this.#last) this.reordered++;
    this.#last = number;
    this.heard(bytes);
  }

  get complete(): boolean {
    return this.#distinct === this.#seen.length;
  }

  result(): Heard {
    const { received, duplicated, reordered } = this;
    return { received, duplicated, reordered, lost: this.#seen.length - this.#distinct };
  }
}

export function numbered(number: number, size: number = 64): Uint8Array {
  const bytes = new Uint8Array(size);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** Sends `count` numbered messages as fast as the other side lets it, or `perSecond`. */
export async function sendAll(talker: Talker, count: number, perSecond: number = Infinity): Promise<void> {
  const startedAt = performance.now();
  for (let number = 0; number < count; number++) {
    const wait = talker.send(numbered(number));
    if (wait !== undefined) await wait;
    if (perSecond === Infinity || number % 150 !== 0) continue;
    const aheadMs = (number / perSecond) * 1000 - (performance.now() - startedAt);
    if (aheadMs > 1) await new Promise((resolve) => setTimeout(resolve, aheadMs));
  }
}

export async function until(what: string, holds: () => boolean, withinMs: number = 60_000): Promise<void> {
  const giveUp = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > giveUp) throw new Error(`waited too long for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
