import { randomUUID } from "node:crypto";
import type { Barrier, BarrierDraft } from "./barrier.ts";
import { holdsBack } from "./barrier.ts";
import { HoldfastError } from "./errors.ts";
import type { GovernanceEvent, JournalDraft } from "./journal.ts";
import { judgeStanding } from "./judge.ts";
import type { Kernel } from "./kernel.ts";
import { matching } from "./listing.ts";
import type { Revocation, RevocationAbout } from "./receipts.ts";
import { ReceiptBook } from "./receipts.ts";
import type { Json, SessionRecord } from "./record.ts";
import type { EndOptions } from "./requests.ts";
import type { Handle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import { assertSelective, handlesOf, principalOnly } from "./selector.ts";
import type { Found } from "./store.ts";

export interface RevokeOptions {
  /** Why, in a person's words; it is journalled. */
  readonly reason: string;
  readonly by?: string;
}

export interface LockRequest extends RevokeOptions {
  readonly selector: Selector;
  /** Until when; left out: until lifted. */
  readonly until?: number;
}

export interface Preview {
  readonly count: number;
  readonly byMechanism: Readonly<Record<string, number>>;
  readonly sample: readonly SessionRecord[];
}

/** Carries out revocations and locks for the kernel, and collects their receipts from the journal. */
export class Revoker {
  readonly #kernel: Kernel;
  readonly #watchers = new Set<(revocation: Revocation) => void>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  watch(watcher: (revocation: Revocation) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async preview(selector: Selector): Promise<Preview> {
    assertSelective(selector);
    const { store, clock } = this.#kernel;
    const barriers = await this.#kernel.barriers();
    const byMechanism: Record<string, number> = {};
    const sample: SessionRecord[] = [];
    const seen = new Set<Handle>();
    const count = (found: Found): boolean => {
      const { record } = found;
      if (seen.has(record.handle) || judgeStanding(found, clock.now(), barriers) !== undefined) return false;
      seen.add(record.handle);
      byMechanism[record.mechanism] = (byMechanism[record.mechanism] ?? 0) + 1;
      if (sample.length < SAMPLE) sample.push(record);
      return true;
    };
    let parents: Handle[] = [];
    for await (const found of matching(store, selector)) if (count(found)) parents.push(found.record.handle);
    // Whatever was opened under one of them ends with it. A principal's children are that principal's own.
    const closed = selector.all === true || principalOnly(selector) !== undefined;
    while (!closed && parents.length > 0) {
      const next: Handle[] = [];
      for (let from = 0; from < parents.length; from += AT_ONCE) {
        const page = parents.slice(from, from + AT_ONCE).map(async (parent) => {
          for await (const found of matching(store, { parent }))
            if (count(found)) next.push(found.record.handle);
        });
        await Promise.all(page);
      }
      parents = next;
    }
    return { count: seen.size, byMechanism, sample };
  }

  async revoke(selector: Selector, options: RevokeOptions): Promise<Revocation> {
    assertSelective(selector);
    await this.#kernel.start();
    const book = this.#open({ kind: "revocation", selector, ...options });
    const { store, clock } = this.#kernel;
    const principal = principalOnly(selector);
    if (principal !== undefined) {
      const keep = handlesOf(selector.except);
      await store.raiseEpoch(principal, keep, { ...this.#announce("epoch", book), principal });
    } else if (selector.handle === undefined) {
      const until = clock.now() + RACE_MS;
      await store.raiseBarrier({ ...barrierOf(book), until }, this.#announce("barrier", book));
    } else {
      await store.append([this.#announce("note", book)]);
    }
    await this.#endAll(book);
    return book;
  }

  async lock(request: LockRequest): Promise<{ barrier: Barrier; revocation: Revocation }> {
    const { until, ...what } = request;
    assertSelective(what.selector);
    const { store, clock } = this.#kernel;
    if (until !== undefined && until <= clock.now()) {
      throw new HoldfastError("invalid-argument", "A lock must end in the future.", {
        detail: { until },
      });
    }
    await this.#kernel.start();
    const book = this.#open({ kind: "lock", ...what });
    const barrier = await store.raiseBarrier(
      { ...barrierOf(book), ...(until !== undefined && { until }) },
      this.#announce("barrier", book),
    );
    await this.#kernel.reloadBarriers();
    await this.#endAll(book);
    return { barrier, revocation: book };
  }

  async unlock(id: string, who: string | undefined): Promise<boolean> {
    const entry = this.#entry("barrier-lifted", who, { lock: id });
    const lifted = await this.#kernel.store.liftBarrier(id, entry);
    if (lifted) await this.#kernel.reloadBarriers();
    return lifted;
  }

  /**
   * Ends what was revoked or locked and is there still, because the node that set out to end it died over it. Nobody
   * can use such a session; this closes its account.
   */
  async reapply(): Promise<void> {
    const barriers = await this.#kernel.store.barriers(this.#kernel.clock.now());
    for await (const found of matching(this.#kernel.store, { all: true })) {
      const now = this.#kernel.clock.now();
      const refusal = judgeStanding(found, now, barriers);
      if (refusal !== "revoked" && refusal !== "locked") continue;
      await this.#kernel.endForNow(found.record, causeOf(found.record, barriers, now));
    }
  }

  #open(about: Omit<RevocationAbout, "id">): ReceiptBook {
    const book = new ReceiptBook(this.#kernel, { id: randomUUID(), ...about });
    for (const watcher of this.#watchers) watcher(book);
    return book;
  }

  async #endAll(book: ReceiptBook): Promise<void> {
    const all: Promise<void>[] = [];
    let running = 0;
    let oneIsDone = (): void => {};
    const failures: unknown[] = [];
    const { store } = this.#kernel;
    for await (const { record } of matching(store, book.selector)) {
      book.expect(record);
      const one = this.#endOne(record, book)
        .catch((error: unknown) => void failures.push(error))
        .finally(() => {
          running--;
          oneIsDone();
        });
      all.push(one);
      running++;
      if (running >= AT_ONCE) await new Promise<void>((resolve) => (oneIsDone = resolve));
    }
    await Promise.all(all);
    await store.settled?.();
    book.allEnded();
    if (failures.length > 0) throw failures[0];
    const detail = { [book.kind]: book.id, sessions: book.receipts.length };
    await store.append([this.#entry("note", book.by, detail)]);
  }

  async #endOne(record: SessionRecord, book: ReceiptBook): Promise<void> {
    const options = { reason: "revoked", revocation: book.id, ...by(book.by) } as const;
    const ended = await this.#kernel.endForNow(record, options, { ended: (one) => book.ended(one) });
    if (ended === undefined) {
      const now = await this.#kernel.store.get(record.handle, { fresh: true });
      book.endedOtherwise(record.handle, now?.record.ended);
    }
  }

  #announce(event: "epoch" | "barrier" | "note", book: ReceiptBook): JournalDraft {
    const { id, kind, reason, selector } = book;
    return this.#entry(event, book.by, { [kind]: id, reason, selector: { ...selector } });
  }

  #entry(
    event: GovernanceEvent,
    who: string | undefined,
    detail: { readonly [key: string]: Json },
  ): JournalDraft {
    const { clock, node } = this.#kernel;
    return { at: clock.now(), phase: "governance", event, node, ...by(who), detail };
  }
}

/** Which barrier refuses `record`, as what to write when it is ended for that; its principal's epoch if none does. */
export function causeOf(record: SessionRecord, barriers: readonly Barrier[], now: number): EndOptions {
  const barrier = barriers.find((one) => holdsBack(one, record, now));
  if (barrier === undefined) return { reason: "revoked", by: "holdfast" };
  return { reason: "revoked", revocation: barrier.id, by: barrier.by ?? "holdfast" };
}

function barrierOf({ id, kind, selector, reason, at, by: who }: ReceiptBook): BarrierDraft {
  return { id, kind, selector, reason, at, ...by(who) };
}

function by(who: string | undefined): { by?: string } {
  return who === undefined ? {} : { by: who };
}

/** How long a revocation's barrier stands: far longer than any create can be under way. */
const RACE_MS = 10 * 60_000;
const AT_ONCE = 256;
const SAMPLE = 20;
