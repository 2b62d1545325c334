import type { SessionRecord } from "../../kernel/record.ts";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle, shardOfHandle, shardOfPrincipal } from "../../kernel/secret.ts";
import type { Found, ListPage, ListQuery } from "../../kernel/store.ts";
import { assertPage } from "../preconditions.ts";
import type { Layout, Shard } from "./layout.ts";
import type { Lookups } from "./lookups.ts";
import type { RoundTrips } from "./round-trips.ts";
import type { Script } from "./scripts.ts";
import { COUNTS, DUE, PAGE, SIZES } from "./scripts.ts";
import { decodeFound, listOf, numberOf, textOf } from "./stored.ts";

/** Lists over the shards. A handle's first two characters are its shard, so that the order of handles is theirs. */
export class Listing {
  readonly #trips: RoundTrips;
  readonly #layout: Layout;
  readonly #lookups: Lookups;

  constructor(trips: RoundTrips, layout: Layout, lookups: Lookups) {
    this.#trips = trips;
    this.#layout = layout;
    this.#lookups = lookups;
  }

  async list(query: ListQuery): Promise<ListPage> {
    assertPage(query);
    const { term, limit } = query;
    const bound = query.after === undefined ? "-" : `(${query.after}`;
    const found: Found[] = [];
    let last: string | undefined;
    let room = limit;
    for (const [shard, count] of await this.#holders(term, bound, query.after)) {
      if (room === 0) return next(found, last);
      const page = listOf(
        await this.#trips.read(PAGE, shard, pageKeys(shard, term), [bound, Math.min(count, room + 1)]),
      );
      for (let i = 0; i < page.length; i += 3) {
        if (room === 0) return next(found, last);
        room--;
        last = textOf(page[i]);
        const one = decodeFound(page[i + 1], page[i + 2]);
        if (one !== undefined) found.push(one);
      }
    }
    return { found };
  }

  async due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    const nearest = await this.#nearest(now, limit);
    const found = await Promise.all(
      nearest.map(({ handle }) => this.#lookups.byHandle(this.#layout.at(shardOfHandle(handle)), handle)),
    );
    return found.flatMap((one) => (one === undefined ? [] : [one.record]));
  }

  /** Sizes of the shards, added up, in the order of SIZES. */
  async sizes(): Promise<readonly number[]> {
    const sums: number[] = [];
    const asked = this.#layout.shards.map(async (shard) => {
      const keys = [shard.records, shard.keys, shard.due, shard.epochs, shard.journal];
      const reply = await this.#trips.read(
        SIZES,
        shard,
        [...keys, shard.term("live"), shard.term("ended")],
        [],
      );
      listOf(reply).forEach((size, i) => (sums[i] = (sums[i] ?? 0) + numberOf(size)));
    });
    await Promise.all(asked);
    return sums;
  }

  /** Shards that may hold handles of the term above the bound, in their order, and how many. */
  async #holders(
    term: string,
    bound: string,
    after: Handle | undefined,
  ): Promise<(readonly [Shard, number])[]> {
    const one = shardOfTerm(term);
    if (one !== undefined) return [[this.#layout.at(one), Infinity]];
    const from = after === undefined || parseHandle(after) === undefined ? 0 : shardOfHandle(after);
    const shards = this.#layout.shards.slice(from);
    const counts = await this.#ofEach(COUNTS, shards, (shard) => shard.term(term), [bound]);
    return shards.flatMap((shard, i) =>
      numberOf(counts[i]) === 0 ? [] : [[shard, numberOf(counts[i])] as const],
    );
  }

  /**
   * The handles with the nearest deadlines. Each shard is asked for its share first, and for twice as many again as
   * long as its last one comes before the whole's.
   */
  async #nearest(now: number, limit: number): Promise<Deadline[]> {
    let share = Math.min(limit, Math.ceil((2 * limit) / this.#layout.shards.length) + 8);
    let asking: readonly Shard[] = this.#layout.shards;
    const byShard = new Map<number, Deadline[]>();
    for (;;) {
      const replies = await this.#ofEach(DUE, asking, (shard) => shard.due, [now, share]);
      asking.forEach((shard, i) => byShard.set(shard.index, deadlines(listOf(replies[i]))));
      const all = [...byShard.values()].flat().sort(byDeadline).slice(0, limit);
      const edge = all.length < limit ? Infinity : (all.at(-1)?.at ?? Infinity);
      const full = share;
      asking = asking.filter((shard) => {
        const own = byShard.get(shard.index) ?? [];
        return full < limit && own.length === full && (own.at(-1)?.at ?? Infinity) <= edge;
      });
      if (asking.length === 0) return all;
      share = Math.min(limit, 2 * share);
    }
  }

  /** Asks each shard for the same: with one script call on a single node, with one for each on a cluster. */
  async #ofEach(
    script: Script,
    shards: readonly Shard[],
    key: (shard: Shard) => string,
    args: readonly (string | number)[],
  ): Promise<readonly unknown[]> {
    const groups = this.#trips.link.topology === "single" ? [shards] : shards.map((shard) => [shard]);
    const replies = await Promise.all(
      groups.map(async (group) => {
        const [first] = group;
        return first === undefined ? [] : listOf(await this.#trips.read(script, first, group.map(key), args));
      }),
    );
    return replies.flat(1);
  }
}

/** A principal's lists are in its shard; all others may be anywhere. */
function shardOfTerm(term: string): number | undefined {
  return /^[pe]:/.test(term) ? shardOfPrincipal(term.slice(2)) : undefined;
}

function pageKeys(shard: Shard, term: string): string[] {
  return [shard.term(term), shard.records, shard.epochs];
}

function next(found: readonly Found[], last: string | undefined): ListPage {
  const handle = last === undefined ? undefined : parseHandle(last);
  return handle === undefined ? { found } : { found, next: handle };
}

interface Deadline {
  readonly handle: Handle;
  readonly at: number;
}

function deadlines(reply: readonly unknown[]): Deadline[] {
  const list: Deadline[] = [];
  for (let i = 0; i < reply.length; i += 2) {
    const handle = parseHandle(textOf(reply[i]));
    if (handle !== undefined) list.push({ handle, at: numberOf(reply[i + 1]) });
  }
  return list;
}

function byDeadline(a: Deadline, b: Deadline): number {
  return a.at - b.at || (a.handle < b.handle ? -1 : a.handle > b.handle ? 1 : 0);
}
