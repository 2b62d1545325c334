import { SHARDS } from "../../kernel/secret.ts";

/**
 * A place in the journal: the number of the last entry seen of each shard. As text it is `r` and the 64 numbers in base
 * 36 with dots between them (nothing for 0). An entry's own cursor is `~`, its shard, `:` and its number: all that was
 * written after it in its shard, and whatever is kept of the others, comes after it.
 */
export class Positions {
  readonly #seen: number[];
  readonly #texts: string[];

  constructor(seen: readonly number[] = []) {
    this.#seen = Array.from({ length: SHARDS }, (_, shard) => seen[shard] ?? 0);
    this.#texts = this.#seen.map(textOf);
  }

  at(shard: number): number {
    return this.#seen[shard] ?? 0;
  }

  move(shard: number, seen: number): void {
    this.#seen[shard] = seen;
    this.#texts[shard] = textOf(seen);
  }

  toString(): string {
    return `r${this.#texts.join(".")}`;
  }
}

/** `undefined` when the text is none of ours. */
export function parseCursor(cursor: string): Positions | undefined {
  const entry = /^~(\d{1,2}):([0-9a-z]+)$/.exec(cursor);
  if (entry !== null) {
    const [shard, seen] = [Number(entry[1]), parseInt(entry[2] ?? "", 36)];
    if (shard >= SHARDS) return undefined;
    const positions = new Positions();
    positions.move(shard, seen);
    return positions;
  }
  const place = /^r([0-9a-z.]*)$/.exec(cursor);
  const numbers = place?.[1]?.split(".").map((text) => (text === "" ? 0 : parseInt(text, 36)));
  return numbers?.length === SHARDS ? new Positions(numbers) : undefined;
}

export function entryCursor(shard: number, number: number): string {
  return `~${shard}:${number.toString(36)}`;
}

function textOf(seen: number): string {
  return seen === 0 ? "" : seen.toString(36);
}
