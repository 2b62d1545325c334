import type { CredentialKey, Handle } from "../../kernel/secret.ts";
import type { Found } from "../../kernel/store.ts";
import type { Shard } from "./layout.ts";
import { LOOKUP } from "./scripts.ts";
import type { RoundTrips } from "./round-trips.ts";
import { decodeFound, listOf } from "./stored.ts";

/** How many look-ups go into one script, so that it never keeps Redis from others for long. */
const BATCH = 128;

/**
 * Look-ups of one turn of the event loop travel together: one script call answers them all (on a cluster one for each
 * shard), which halves their cost on both sides.
 */
export class Lookups {
  readonly #trips: RoundTrips;
  #waiting: Asked[] = [];

  constructor(trips: RoundTrips) {
    this.#trips = trips;
  }

  byKey(shard: Shard, key: CredentialKey): Promise<Found | undefined> {
    return this.#ask(shard, key, true);
  }

  byHandle(shard: Shard, handle: Handle): Promise<Found | undefined> {
    return this.#ask(shard, handle, false);
  }

  #ask(shard: Shard, what: string, isKey: boolean): Promise<Found | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush());
      this.#waiting.push({ shard, what, isKey, resolve, reject });
    });
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    if (this.#trips.link.topology === "single") {
      for (let i = 0; i < waiting.length; i += BATCH) void this.#send(waiting.slice(i, i + BATCH));
      return;
    }
    const byShard = new Map<number, Asked[]>();
    for (const asked of waiting) {
      const all = byShard.get(asked.shard.index);
      if (all === undefined) byShard.set(asked.shard.index, [asked]);
      else all.push(asked);
    }
    for (const all of byShard.values()) {
      for (let i = 0; i < all.length; i += BATCH) void this.#send(all.slice(i, i + BATCH));
    }
  }

  async #send(batch: readonly Asked[]): Promise<void> {
    const [first] = batch;
    if (first === undefined) return;
    const keys: string[] = [];
    const places = new Map<number, number>();
    const args: (string | number)[] = [];
    for (const { shard, what, isKey } of batch) {
      let place = places.get(shard.index);
      if (place === undefined) {
        place = keys.push(shard.keys, shard.records, shard.epochs) - 2;
        places.set(shard.index, place);
      }
      args.push(isKey ? place : -place, what);
    }
    try {
      const reply = listOf(await this.#trips.read(LOOKUP, first.shard, keys, args));
      batch.forEach((asked, i) => settle(asked, reply[2 * i], reply[2 * i + 1]));
    } catch (error) {
      for (const asked of batch) asked.reject(error);
    }
  }
}

interface Asked {
  readonly shard: Shard;
  readonly what: string;
  readonly isKey: boolean;
  readonly resolve: (found: Found | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** One record that cannot be read is no reason to refuse the others. */
function settle(asked: Asked, value: unknown, epoch: unknown): void {
  try {
    asked.resolve(decodeFound(value, epoch));
  } catch (error) {
    asked.reject(error);
  }
}
