import type {
  Change,
  Clock,
  CredentialKey,
  Handle,
  JournalDraft,
  SessionRecord,
  SessionStore,
  UpdateOutcome,
} from "../../../src/kernel/index.ts";
import { mintHandle, mintSecret, credentialKey } from "../../../src/kernel/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** An operation of the cache on the store below: what it does happens at `commit`, its answer arrives at `answer`. */
export interface Held {
  commit(): Promise<void>;
  answer(): void;
  fail(error: Error): void;
}

/** A store whose every delay is in the test's hands, and whose feed brings what the test lets through. */
export class ScriptedStore {
  readonly truth: SessionStore;
  readonly store: SessionStore;
  /** While true, reads and writes wait in `held`. */
  holding = false;
  readonly held: Held[] = [];
  /** What was committed and not yet let through, oldest first. */
  readonly undelivered: JournalDraft[] = [];
  subscriptions = 0;
  #feed: { live: boolean; push(change: Change | Error): void } | undefined;
  #cursor = 0;

  constructor(clock: Clock) {
    this.truth = memory({ clock });
    const { truth } = this;
    this.store = {
      ...delegate(truth),
      find: (key) => this.#through(async () => truth.find(key)),
      get: (handle) => this.#through(async () => truth.get(handle)),
      create: (record, entries, standing) =>
        this.#through(async () => {
          const outcome = await truth.create(record, entries, standing);
          if (outcome === "created") this.undelivered.push(...entries);
          return outcome;
        }),
      update: (prev, next, entries) => this.#through(() => this.update(prev, next, entries)),
      raiseEpoch: (principal, keep, entry) => this.#through(() => this.raiseEpoch(principal, keep, entry)),
      changes: (_from, { signal }) => ({
        [Symbol.asyncIterator]: () => this.#changes(signal),
        caughtUp: () => this.caughtUp(),
      }),
    };
  }

  /** As another process does it: committed at once, and in the feed when the test lets it through. */
  async update(
    prev: SessionRecord,
    next: SessionRecord,
    entries: readonly JournalDraft[],
  ): Promise<UpdateOutcome> {
    const outcome = await this.truth.update(prev, next, entries);
    if (outcome === "updated") this.undelivered.push(...entries);
    return outcome;
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    const epoch = await this.truth.raiseEpoch(principal, keep, entry);
    this.undelivered.push(entry);
    return epoch;
  }

  /** The journal was looked into and nothing was found, unless the test says otherwise. */
  caughtUp: () => Promise<void> = () => Promise.resolve();

  get subscribed(): boolean {
    return this.#feed !== undefined;
  }

  live(): void {
    if (this.#feed === undefined || this.#feed.live) return;
    // What was committed before the subscription is not its business.
    this.undelivered.length = 0;
    this.#feed.live = true;
    this.#feed.push({ type: "live", cursor: String(this.#cursor) });
  }

  deliver(count: number = this.undelivered.length): JournalDraft[] {
    const drafts = this.undelivered.splice(0, count);
    const entries = drafts.map((draft) => ({ ...draft, cursor: String(++this.#cursor) }));
    this.#feed?.push({ type: "entries", entries, cursor: String(this.#cursor) });
    return drafts;
  }

  gap(): void {
    this.#feed?.push({ type: "gap", cursor: String(this.#cursor) });
  }

  lose(): void {
    this.#feed?.push(new Error("the feed is lost"));
  }

  #through<T>(run: () => Promise<T>): Promise<T> {
    if (!this.holding) return run();
    return new Promise((resolve, reject) => {
      let result: Promise<T> | undefined;
      this.held.push({
        commit: async () => {
          result ??= run();
          await result;
        },
        answer: () => {
          result ??= run();
          result.then(resolve, reject);
        },
        fail: reject,
      });
    });
  }

  async *#changes(signal: AbortSignal): AsyncGenerator<Change> {
    this.subscriptions++;
    const queue: (Change | Error)[] = [];
    let wake: () => void = () => undefined;
    const feed = {
      live: false,
      push: (change: Change | Error) => {
        queue.push(change);
        wake();
      },
    };
    this.#feed = feed;
    signal.addEventListener("abort", () => wake());
    try {
      while (!signal.aborted) {
        const change = queue.shift();
        if (change instanceof Error) throw change;
        if (change !== undefined) yield change;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      if (this.#feed === feed) this.#feed = undefined;
    }
  }
}

export function delegate(store: SessionStore): SessionStore {
  return {
    kind: store.kind,
    reach: store.reach,
    find: (key, options) => store.find(key, options),
    get: (handle, options) => store.get(handle, options),
    standing: (principal) => store.standing(principal),
    create: (record, entries, standing, ack) => store.create(record, entries, standing, ack),
    update: (prev, next, entries, ack) => store.update(prev, next, entries, ack),
    purge: (record) => store.purge(record),
    list: (query) => store.list(query),
    due: (now, limit) => store.due(now, limit),
    append: (entries) => store.append(entries),
    timeline: (handle, options) => store.timeline(handle, options),
    changes: (from, options) => store.changes(from, options),
    raiseEpoch: (principal, keep, entry) => store.raiseEpoch(principal, keep, entry),
    raiseBarrier: (draft, entry) => store.raiseBarrier(draft, entry),
    liftBarrier: (id, entry) => store.liftBarrier(id, entry),
    barriers: (now) => store.barriers(now),
    putTicket: (key, value, expiresAt) => store.putTicket(key, value, expiresAt),
    takeTicket: (key, now) => store.takeTicket(key, now),
    peekTicket: (key, now) => store.peekTicket(key, now),
    dropTicket: (key) => store.dropTicket(key),
    putNode: (node, expect) => store.putNode(node, expect),
    nodes: () => store.nodes(),
    stats: () => store.stats(),
    close: () => store.close(),
  };
}

/** A session of `principal` as the kernel would make it. */
export function sessionOf(principal: string | undefined, epoch = 0): SessionRecord {
  return {
    handle: mintHandle(0),
    version: 1,
    mechanism: "web",
    mode: "request-response",
    state: "established",
    ...(principal === undefined ? {} : { principal }),
    epoch,
    barrierSeq: 0,
    createdAt: 1,
    touchedAt: 1,
    credentials: { current: freshKey(), retired: [] },
    peer: {},
    data: { count: 0 },
  };
}

export function freshKey(): CredentialKey {
  const key = credentialKey(mintSecret(0).reveal());
  if (key === undefined) throw new Error("a minted secret has a key");
  return key;
}

export function updateNote(record: SessionRecord, event: JournalDraft["event"] = "update"): JournalDraft {
  return {
    handle: record.handle,
    version: record.version,
    at: 1,
    phase: "maintenance",
    event,
    ...(record.principal === undefined ? {} : { principal: record.principal }),
  };
}

export function epochNote(principal: string): JournalDraft {
  return { at: 1, phase: "governance", event: "epoch", principal };
}

/** The next version of `record`, its key changed when `rotated`. */
export function next(record: SessionRecord, rotated = false): SessionRecord {
  const credentials = rotated ? { current: freshKey(), retired: [] } : record.credentials;
  return { ...record, version: record.version + 1, credentials };
}

export function keyOf(record: SessionRecord): CredentialKey {
  const { current } = record.credentials;
  if (current === undefined) throw new Error("the record has a current key");
  return current;
}
