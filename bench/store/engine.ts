import type { JournalDraft } from "../../src/kernel/journal.ts";
import type { SessionRecord } from "../../src/kernel/record.ts";
import type { CredentialKey } from "../../src/kernel/secret.ts";
import type { MaybePromise, SessionStore } from "../../src/kernel/store.ts";
import { entryOf, following, sampleRecord } from "../../src/testing/store/index.ts";
import type { Side } from "../harness.ts";

/**
 * One engine of the `store` benchmark; `bench/store/<name>.ts` exports it as `engine`. Both sides do the same work on the
 * same sessions: `get` goes from a credential key to the record and its principal's epoch; `update` writes the next
 * version if the stored one is the one read, moves the deadline, and writes one entry to the journal and to the timeline.
 */
export interface Engine {
  readonly name: string;
  /** Both sides with `records` in them; `undefined` when what it needs is not installed here. */
  prepare(records: readonly SessionRecord[]): Promise<Prepared | undefined>;
  /** Sessions that are made, and pieces of work in one round of each kind. */
  readonly size: number;
  readonly gets: number;
  readonly updates: number;
}

export interface Prepared {
  readonly get: { readonly ours: Side; readonly raw: Side };
  readonly update: { readonly ours: Side; readonly raw: Side };
  dispose(): Promise<void>;
}

/** A session of about 500 bytes for each of so many principals. */
export function sampleRecords(size: number): SessionRecord[] {
  return Array.from({ length: size }, (_, i) =>
    sampleRecord({
      principal: `user-${i}@example.org`,
      data: { theme: "dark", cart: [i, i + 1] },
      roles: ["user"],
    }),
  );
}

export async function fill(store: SessionStore, records: readonly SessionRecord[]): Promise<void> {
  for (let i = 0; i < records.length; i += 500) {
    const standing = { epoch: 0, barrierSeq: 0 };
    await Promise.all(
      records
        .slice(i, i + 500)
        .map((record) => store.create(record, [entryOf(record, "establish")], standing)),
    );
  }
}

/** Next versions of all sessions in turn: what a touch with a change of the application's data writes. */
export class Successors {
  readonly #current: SessionRecord[];
  #next = 0;

  constructor(records: readonly SessionRecord[]) {
    this.#current = [...records];
  }

  take(): { prev: SessionRecord; next: SessionRecord; entry: JournalDraft } {
    const i = this.#next;
    this.#next = (i + 7919) % this.#current.length;
    const prev = this.#current[i] as SessionRecord;
    const next = following(prev, {
      touchedAt: prev.touchedAt + 1000,
      idleAt: (prev.idleAt ?? 0) + 1000,
      data: { theme: "light", cart: [i, prev.version] },
    });
    this.#current[i] = next;
    return { prev, next, entry: entryOf(next, "update") };
  }
}

/** Keys of all sessions, in an order that no cache of ours likes. */
export class KeyTour {
  readonly #keys: CredentialKey[];
  #next = 0;

  constructor(records: readonly SessionRecord[]) {
    this.#keys = records.map((record) => record.credentials.current as CredentialKey);
  }

  take(): CredentialKey {
    this.#next = (this.#next + 7919) % this.#keys.length;
    return this.#keys[this.#next] as CredentialKey;
  }
}

/** `count` updates, `width` at a time, as that many requests at once would ask for them. */
export function updating(
  records: readonly SessionRecord[],
  width: number,
  update: (step: ReturnType<Successors["take"]>) => Promise<boolean>,
): Side {
  const successors = new Successors(records);
  return async (count) => {
    for (let done = 0; done < count; done += width) {
      const outcomes = await Promise.all(
        Array.from({ length: Math.min(width, count - done) }, () => update(successors.take())),
      );
      if (outcomes.includes(false)) throw new Error("an update that nobody contested was refused");
    }
  };
}

/** `count` look-ups, `width` at a time: for stores that answer later. */
export function gettingMany(
  records: readonly SessionRecord[],
  width: number,
  find: (key: CredentialKey) => MaybePromise<{ readonly record: SessionRecord } | undefined>,
): Side {
  const tour = new KeyTour(records);
  return async (count) => {
    for (let done = 0; done < count; done += width) {
      const found = await Promise.all(
        Array.from({ length: Math.min(width, count - done) }, () => find(tour.take())),
      );
      if (found.includes(undefined)) throw new Error("a session that is there was not found");
    }
  };
}

/** `count` look-ups, one after the other, each of which must find its session. */
export function getting(
  records: readonly SessionRecord[],
  find: (key: CredentialKey) => { readonly record: SessionRecord } | undefined,
): Side {
  const tour = new KeyTour(records);
  return (count) => {
    for (let i = 0; i < count; i++) {
      if (find(tour.take()) === undefined) throw new Error("a session that is there was not found");
    }
  };
}
