import { SHARDS } from "../../kernel/secret.ts";

/** The shard that keeps what belongs to no session: barriers, nodes, entries without a session or principal. */
export const AUTHORITY = 0;

/**
 * The names of one shard's keys. All of them carry the same hash tag, so that a cluster keeps them on one node and one
 * script can change them together. docs/stores-redis.md lists what each holds.
 */
export interface Shard {
  readonly index: number;
  /** Hash: handle → record. */
  readonly records: string;
  /** Hash: credential key → handle. */
  readonly keys: string;
  /** Hash: principal → epoch. */
  readonly epochs: string;
  /** Sorted set: handle by deadline. */
  readonly due: string;
  /** Hash: `n`, the number of the newest journal entry; `b`, the barrier sequence as this shard knows it. */
  readonly meta: string;
  /** Stream of journal entries, and the channel that says there are new ones. */
  readonly journal: string;
  /** Hash: barrier id → barrier. In the authority's shard only. */
  readonly barriers: string;
  /** Hash: node id → lease. In the authority's shard only. */
  readonly nodes: string;
  /** Sorted set of handles, all of score 0. */
  term(term: string): string;
  /** List of a session's journal entries, oldest first. */
  timeline(handle: string): string;
  ticket(key: string): string;
  /** Sorted set of the handles that have a stream, all of score 0. */
  readonly streams: string;
  /** Stream of a session's log entries, with their number + 1 as id, and the hash of where it stands. */
  stream(handle: string): string;
  streamState(handle: string): string;
}

export class Layout {
  readonly shards: readonly Shard[];

  constructor(prefix: string) {
    this.shards = Array.from({ length: SHARDS }, (_, index) => shard(prefix, index));
  }

  /** @throws RangeError when there is no such shard: callers check what comes from outside. */
  at(index: number): Shard {
    const found = this.shards[index];
    if (found === undefined) throw new RangeError(`no shard ${index}`);
    return found;
  }

  get authority(): Shard {
    return this.at(AUTHORITY);
  }
}

function shard(prefix: string, index: number): Shard {
  const tag = `${prefix}:{${String(index).padStart(2, "0")}}:`;
  return {
    index,
    records: `${tag}r`,
    keys: `${tag}k`,
    epochs: `${tag}e`,
    due: `${tag}d`,
    meta: `${tag}m`,
    journal: `${tag}j`,
    barriers: `${tag}b`,
    nodes: `${tag}n`,
    term: (term) => `${tag}i:${term}`,
    timeline: (handle) => `${tag}t:${handle}`,
    ticket: (key) => `${tag}x:${key}`,
    streams: `${tag}l`,
    stream: (handle) => `${tag}l:${handle}`,
    streamState: (handle) => `${tag}L:${handle}`,
  };
}
