import { holdsBack } from "./barrier.ts";
import type { Core } from "./core.ts";
import type { Feed } from "./feed.ts";
import type { Verdict } from "./judge.ts";
import { judge, usableUntil } from "./judge.ts";
import type { EndOptions, Presentation } from "./requests.ts";
import type { SessionRecord } from "./record.ts";
import type { CredentialKey, Handle } from "./secret.ts";
import { credentialKey, secretDigest } from "./secret.ts";
import type { Found, MaybePromise } from "./store.ts";

export interface GateParts {
  readonly core: Core;
  readonly feed: Feed;
  readonly start: () => Promise<void>;
  readonly end: (root: SessionRecord, options: EndOptions) => Promise<unknown>;
}

/** Where presented secrets are looked up, judged and, when they are refused, noted. */
export class Gate {
  readonly #core: Core;
  readonly #feed: Feed;
  readonly #start: GateParts["start"];
  readonly #end: GateParts["end"];
  readonly #lateUses = new Map<Handle, number>();

  constructor(parts: GateParts) {
    this.#core = parts.core;
    this.#feed = parts.feed;
    this.#start = parts.start;
    this.#end = parts.end;
  }

  verify(presented: string): MaybePromise<SessionRecord | undefined> {
    const recalled = this.#recall(presented);
    if (recalled !== undefined) return recalled;
    const key = credentialKey(presented);
    if (key === undefined) {
      this.#core.tally("unknown");
      return undefined;
    }
    if (!this.#feed.live) return this.#verifySlowly(key);
    const found = this.#core.store.find(key);
    if (found instanceof Promise)
      return found.then((read) => this.#quick(read, key) ?? this.#settle(read, key, true));
    return this.#quick(found, key) ?? this.#settle(found, key, false);
  }

  async present(presented: string): Promise<Presentation> {
    const key = credentialKey(presented);
    if (key === undefined) {
      this.#core.tally("unknown");
      return { good: false, why: "unknown" };
    }
    await this.#start();
    const fresh = !this.#feed.live;
    const found = this.#core.store.find(key, { fresh });
    const presentation = await this.#judged(key, await found, fresh || found instanceof Promise);
    if (!presentation.good) await this.#refused(presentation);
    return presentation;
  }

  /** What a cache answers without a look at the record; `undefined` when there is none or it does not know. */
  #recall(presented: string): SessionRecord | undefined {
    const { store, clock } = this.#core;
    if (store.recall === undefined || !this.#feed.live) return undefined;
    const digest = secretDigest(presented);
    if (digest === undefined) return undefined;
    const now = clock.now();
    const record = store.recall(digest, now);
    return record !== undefined && this.#passesBarriers(record, now) ? record : undefined;
  }

  /** The whole check for the usual case; `undefined` sends the caller the long way round. */
  #quick(found: Found | undefined, key: CredentialKey): SessionRecord | undefined {
    if (found === undefined) return undefined;
    const { record } = found;
    const now = this.#core.clock.now();
    if (record.credentials.current !== key || now >= usableUntil(found)) return undefined;
    return this.#passesBarriers(record, now) ? record : undefined;
  }

  /** False also when it is not known just now which barriers stand. */
  #passesBarriers(record: SessionRecord, now: number): boolean {
    const barriers = this.#feed.known;
    if (barriers === undefined) return false;
    for (const barrier of barriers) if (holdsBack(barrier, record, now)) return false;
    return true;
  }

  #settle(
    found: Found | undefined,
    key: CredentialKey,
    isFresh: boolean,
  ): MaybePromise<SessionRecord | undefined> {
    if (found === undefined) {
      this.#core.tally("unknown");
      return undefined;
    }
    return this.#judged(key, found, isFresh).then(async (presentation) => {
      if (presentation.good) return presentation.record;
      const noted = this.#refused(presentation);
      // A session that is over has nothing left to protect: whoever is refused need not wait until that is written.
      if (presentation.why === "ended") this.#core.inBackground(noted);
      else await noted;
      return undefined;
    });
  }

  async #verifySlowly(key: CredentialKey): Promise<SessionRecord | undefined> {
    await this.#start();
    const found = await this.#core.store.find(key, { fresh: true });
    return this.#quick(found, key) ?? this.#settle(found, key, true);
  }

  /** What was answered at once may come from a cache: before a secret is refused for it, the store is asked. */
  async #judged(key: CredentialKey, first: Found | undefined, isFresh: boolean): Promise<Presentation> {
    if (first === undefined) {
      this.#core.tally("unknown");
      return { good: false, why: "unknown" };
    }
    const now = this.#core.clock.now();
    const barriers = await this.#feed.barriers();
    let found = first;
    let verdict: Verdict = judge(found, key, now, barriers);
    if (!verdict.good && !isFresh) {
      const fresh = await this.#core.store.find(key, { fresh: true });
      if (fresh === undefined) return { good: false, why: "unknown" };
      found = fresh;
      verdict = judge(found, key, now, barriers);
    }
    if (verdict.good) return { good: true, record: found.record, slot: verdict.slot };
    this.#core.tally(verdict.why);
    return { good: false, why: verdict.why, record: found.record };
  }

  /** What a refusal leaves behind: theft ends the family, a late use is noted. */
  async #refused({ record, why }: Refused): Promise<void> {
    if (record === undefined) return;
    if (why === "reused") {
      const root = await this.#familyRoot(record);
      await this.#core.store.append([this.#core.entry(record, "reuse", { detail: { root: root.handle } })]);
      await this.#end(root, { reason: "revoked", by: "holdfast", detail: { cause: "reuse" } });
      return;
    }
    if (why !== "ended") return;
    // A peer that keeps knocking must not be able to fill the journal.
    const now = this.#core.clock.now();
    if (now - (this.#lateUses.get(record.handle) ?? -Infinity) < LATE_USE_EVERY_MS) return;
    if (this.#lateUses.size >= LATE_USES_KEPT) this.#lateUses.clear();
    this.#lateUses.set(record.handle, now);
    await this.#core.store.append([this.#core.entry(record, "late-use", { at: now })]);
  }

  async #familyRoot(record: SessionRecord): Promise<SessionRecord> {
    let root = record;
    for (let depth = 0; root.parent !== undefined && depth < MAX_DEPTH; depth++) {
      const parent = await this.#core.store.get(root.parent, { fresh: true });
      if (parent === undefined || parent.record.state === "ended") break;
      root = parent.record;
    }
    return root;
  }
}

type Refused = Extract<Presentation, { readonly good: false }>;

const LATE_USE_EVERY_MS = 60_000;
const LATE_USES_KEPT = 10_000;
const MAX_DEPTH = 16;
