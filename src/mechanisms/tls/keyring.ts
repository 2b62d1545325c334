import type { Settings } from "./options.ts";
import type { RootSource } from "./roots.ts";
import { DerivedRoots } from "./roots.ts";
import type { EpochKeys } from "./schedule.ts";
import { deriveKeys, epochOf } from "./schedule.ts";

/** Keys found by the name on a ticket or cached session. */
export interface Match {
  readonly keys: EpochKeys;
  /** Epochs ahead of ours (a clock that is fast) or behind (an older ticket). */
  readonly skew: number;
}

/** The keys of every trust domain: with which to make, and which to accept. */
export class Keyring {
  readonly #settings: Settings;
  readonly #generations: Generation[];
  /** By generation, epoch and domain; once there are many, least recently used first. */
  readonly #derived = new Map<string, EpochKeys>();

  constructor(settings: Settings, roots: RootSource | undefined) {
    this.#settings = settings;
    this.#generations =
      roots === undefined
        ? settings.secrets.map((secret) => ({ roots: new DerivedRoots(secret), id: ++generations }))
        : [{ roots, id: ++generations }];
  }

  /** The first is the one that makes. */
  rotate(secret: Buffer, makesFrom: number): void {
    const { maxTicketAgeMs } = this.#settings;
    const [current] = this.#generations;
    if (current !== undefined) current.acceptedUntil = makesFrom + maxTicketAgeMs;
    this.#generations.unshift({ roots: new DerivedRoots(secret), id: ++generations, makesFrom });
  }

  /** `undefined` while the shared root is not to be had: then nothing is made that could be resumed. */
  making(domain: string, now: number): EpochKeys | undefined {
    const epoch = epochOf(now, this.#settings.epochMs);
    const generation = this.#generations.find(({ makesFrom = 0 }) => makesFrom <= now);
    return generation === undefined ? undefined : this.#keys(generation, domain, epoch);
  }

  accepted(name: Buffer, domain: string, now: number): Match | undefined {
    const { epochMs, previous, next } = this.#settings;
    const current = epochOf(now, epochMs);
    this.#forget(now);
    for (const skew of around(previous, next)) {
      for (const generation of this.#generations) {
        const keys = this.#keys(generation, domain, current + skew);
        if (keys?.name.equals(name) === true) return { keys, skew };
      }
    }
    return undefined;
  }

  /** True for a name that was good a while ago, for the metrics. */
  wasAccepted(name: Buffer, domain: string, now: number): boolean {
    const { epochMs, previous } = this.#settings;
    const oldest = epochOf(now, epochMs) - previous;
    return this.#generations.some((generation) =>
      [1, 2].some((back) => this.#keys(generation, domain, oldest - back)?.name.equals(name) === true),
    );
  }

  /** Keys made from a root that is gone go with it. */
  erase(before: number): void {
    for (const [key, keys] of this.#derived) {
      if (keys.epoch >= before) continue;
      for (const bytes of [keys.name, keys.hmac, keys.aes, keys.iv, keys.cache]) bytes.fill(0);
      this.#derived.delete(key);
    }
  }

  #keys(generation: Generation, domain: string, epoch: number): EpochKeys | undefined {
    const key = `${generation.id} ${epoch} ${domain}`;
    let keys = this.#derived.get(key);
    if (keys === undefined) {
      const root = generation.roots.root(epoch);
      if (root === undefined) return undefined;
      keys = deriveKeys(root, this.#settings.cluster, domain, epoch);
    } else {
      if (this.#derived.size < DERIVED_KEPT / 2) return keys;
      this.#derived.delete(key);
    }
    this.#derived.set(key, keys);
    if (this.#derived.size > DERIVED_KEPT) {
      for (const [oldest] of this.#derived) {
        this.#derived.delete(oldest);
        break;
      }
    }
    return keys;
  }

  #forget(now: number): void {
    const last = this.#generations.at(-1);
    if (this.#generations.length > 1 && (last?.acceptedUntil ?? Infinity) <= now) this.#generations.pop();
  }
}

interface Generation {
  readonly roots: RootSource;
  readonly id: number;
  readonly makesFrom?: number;
  acceptedUntil?: number;
}

/** 0, -1, 1, -2, …: the likely ones first. */
function around(previous: number, next: number): number[] {
  const skews = [0];
  for (let step = 1; step <= Math.max(previous, next); step++) {
    if (step <= previous) skews.push(-step);
    if (step <= next) skews.push(step);
  }
  return skews;
}

let generations = 0;
const DERIVED_KEPT = 4_096;
