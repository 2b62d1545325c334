import { randomUUID } from "node:crypto";
import type { Barrier } from "./barrier.ts";
import { HoldfastError } from "./errors.ts";
import type { JournalDraft, JournalEntry } from "./journal.ts";
import type { Kernel } from "./kernel.ts";
import { matching } from "./listing.ts";
import type { SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import { assertSelective, handlesOf, principalOnly } from "./selector.ts";

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

/** What became of one session. `closed`: its peer can use it no more; the others are on the way there, or say why not. */
export interface Receipt {
  readonly handle: Handle;
  readonly mechanism: string;
  readonly principal?: string;
  /** The node that carried its connection; absent when none was attached: then ending it is all there is to do. */
  readonly node?: string;
  readonly requestedAt: number;
  readonly endedAt?: number;
  readonly signalledAt?: number;
  readonly closedAt?: number;
  readonly state: "requested" | "ended" | "signalled" | "closed" | "failed";
  readonly why?: string;
}

export interface Revocation {
  readonly id: string;
  readonly selector: Selector;
  readonly at: number;
  /** As they stand now. */
  readonly receipts: readonly Receipt[];
  /** Hears each receipt as it changes. Returns how to stop. */
  onReceipt(listener: (receipt: Receipt) => void): () => void;
  /** Resolves when every receipt is `closed` or `failed`. */
  readonly settled: Promise<readonly Receipt[]>;
}

/** Carries out revocations and locks for the kernel, and collects their receipts from the journal. */
export class Revoker {
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  async preview(selector: Selector): Promise<Preview> {
    assertSelective(selector);
    const byMechanism: Record<string, number> = {};
    const sample: SessionRecord[] = [];
    let count = 0;
    for await (const { record } of matching(this.#kernel.store, selector)) {
      count++;
      byMechanism[record.mechanism] = (byMechanism[record.mechanism] ?? 0) + 1;
      if (sample.length < 20) sample.push(record);
    }
    return { count, byMechanism, sample };
  }

  async revoke(selector: Selector, options: RevokeOptions): Promise<Revocation> {
    assertSelective(selector);
    await this.#kernel.start();
    const book = new ReceiptBook(this.#kernel, randomUUID(), selector);
    const { store, clock } = this.#kernel;
    const principal = principalOnly(selector);
    const detail = { revocation: book.id, reason: options.reason };
    if (principal !== undefined) {
      const keep = handlesOf(selector.except);
      await store.raiseEpoch(principal, keep, this.#note("epoch", options.by, detail, principal));
    } else if (selector.handle === undefined) {
      const until = clock.now() + RACE_MS;
      const barrier = {
        id: book.id,
        kind: "revocation",
        selector,
        reason: options.reason,
        at: clock.now(),
        until,
      } as const;
      await store.raiseBarrier({ ...barrier, ...by(options.by) }, this.#note("barrier", options.by, detail));
    }
    await this.#endAll(selector, book, options.by);
    return book;
  }

  async lock(request: LockRequest): Promise<{ barrier: Barrier; revocation: Revocation }> {
    assertSelective(request.selector);
    const { store, clock } = this.#kernel;
    if (request.until !== undefined && request.until <= clock.now()) {
      throw new HoldfastError("invalid-argument", "A lock must end in the future.", {
        detail: { until: request.until },
      });
    }
    await this.#kernel.start();
    const book = new ReceiptBook(this.#kernel, randomUUID(), request.selector);
    const barrier = await store.raiseBarrier(
      {
        id: book.id,
        kind: "lock",
        selector: request.selector,
        reason: request.reason,
        at: clock.now(),
        ...by(request.by),
        ...(request.until !== undefined && { until: request.until }),
      },
      this.#note("barrier", request.by, { lock: book.id, reason: request.reason }),
    );
    await this.#kernel.reloadBarriers();
    await this.#endAll(request.selector, book, request.by);
    return { barrier, revocation: book };
  }

  async unlock(id: string, who: string | undefined): Promise<boolean> {
    const lifted = await this.#kernel.store.liftBarrier(id, this.#note("barrier-lifted", who, { lock: id }));
    if (lifted) await this.#kernel.reloadBarriers();
    return lifted;
  }

  async #endAll(selector: Selector, book: ReceiptBook, who: string | undefined): Promise<void> {
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for await (const { record } of matching(this.#kernel.store, selector)) {
      book.expect(record);
      const one: Promise<void> = this.#kernel
        .end(record, { reason: "revoked", revocation: book.id, ...by(who) })
        .then(
          () => {},
          (error: unknown) => void failures.push(error),
        )
        .finally(() => running.delete(one));
      running.add(one);
      if (running.size >= AT_ONCE) await Promise.race(running);
    }
    await Promise.all(running);
    book.allEnded();
    if (failures.length > 0) throw failures[0];
  }

  #note(
    event: "epoch" | "barrier" | "barrier-lifted",
    who: string | undefined,
    detail: Record<string, string>,
    principal?: string,
  ): JournalDraft {
    return {
      at: this.#kernel.clock.now(),
      phase: "governance",
      event,
      node: this.#kernel.node,
      ...by(who),
      ...(principal !== undefined && { principal }),
      detail,
    };
  }
}

/** The receipts of one revocation, filled in from the journal as nodes report. */
class ReceiptBook implements Revocation {
  readonly id: string;
  readonly selector: Selector;
  readonly at: number;
  readonly settled: Promise<readonly Receipt[]>;
  readonly #kernel: Kernel;
  readonly #receipts = new Map<Handle, Receipt>();
  readonly #listeners = new Set<(receipt: Receipt) => void>();
  readonly #stop: () => void;
  #resolve: (receipts: readonly Receipt[]) => void = () => {};
  #cancelTimeout: () => void = () => {};
  #complete = false;

  constructor(kernel: Kernel, id: string, selector: Selector) {
    this.#kernel = kernel;
    this.id = id;
    this.selector = selector;
    this.at = kernel.clock.now();
    this.settled = new Promise((resolve) => (this.#resolve = resolve));
    this.#stop = kernel.onEntry((entry) => this.#heard(entry));
  }

  get receipts(): readonly Receipt[] {
    return [...this.#receipts.values()];
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  expect(record: SessionRecord): void {
    if (this.#receipts.has(record.handle)) return;
    const { handle, mechanism, principal, owner } = record;
    // A suspended session has an owner, but no connection that could be closed.
    const node = record.state === "suspended" ? undefined : owner?.node;
    const requestedAt = this.#kernel.clock.now();
    this.#set({
      handle,
      mechanism,
      requestedAt,
      state: "requested",
      ...(principal !== undefined && { principal }),
      ...(node !== undefined && { node }),
    });
  }

  /** Every session is refused from here on; what is open now are connections, for which each node has `receiptMs`. */
  allEnded(): void {
    this.#complete = true;
    const now = this.#kernel.clock.now();
    for (const receipt of this.#receipts.values()) {
      if (receipt.node === undefined)
        this.#set({ ...receipt, state: "closed", endedAt: receipt.endedAt ?? now, closedAt: now });
      else if (receipt.state === "requested") this.#set({ ...receipt, state: "ended", endedAt: now });
    }
    this.#cancelTimeout = this.#kernel.clock.after(this.#kernel.policy.receiptMs, () => {
      this.#kernel.inBackground(this.#giveUp());
    });
    this.#settleIfDone();
  }

  #heard(entry: JournalEntry): void {
    if (entry.handle === undefined || entry.detail?.["revocation"] !== this.id) return;
    const receipt = this.#receipts.get(entry.handle) ?? this.#child(entry);
    if (receipt === undefined || receipt.state === "closed" || receipt.state === "failed") return;
    if (entry.event === "end" && receipt.state === "requested")
      this.#set({ ...receipt, state: "ended", endedAt: entry.at });
    if (entry.event === "transport-signalled")
      this.#set({ ...receipt, state: "signalled", signalledAt: entry.at });
    if (entry.event === "transport-closed") {
      const why = entry.detail["failed"];
      if (typeof why === "string") this.#set({ ...receipt, state: "failed", why });
      else this.#set({ ...receipt, state: "closed", closedAt: entry.at });
    }
    this.#settleIfDone();
  }

  /** A child that ended with its parent is part of the revocation without having been selected. */
  #child(entry: JournalEntry): Receipt | undefined {
    if (entry.event !== "end" || entry.handle === undefined) return undefined;
    const { handle, mechanism = "", principal } = entry;
    const carriedBy = entry.detail?.["carriedBy"];
    const receipt: Receipt = {
      handle,
      mechanism,
      requestedAt: this.at,
      endedAt: entry.at,
      ...(principal !== undefined && { principal }),
      ...(typeof carriedBy === "string"
        ? { node: carriedBy, state: "ended" }
        : { closedAt: entry.at, state: "closed" }),
    };
    this.#set(receipt);
    return receipt;
  }

  /** A node that is dead has no connections left; one that lives and did not answer is a failure to be seen. */
  async #giveUp(): Promise<void> {
    const nodes = new Map((await this.#kernel.store.nodes()).map((lease) => [lease.id, lease]));
    const now = this.#kernel.clock.now();
    for (const receipt of this.#receipts.values()) {
      if (receipt.state === "closed" || receipt.state === "failed") continue;
      const lease = nodes.get(receipt.node ?? "");
      const dead = lease === undefined || lease.gone === true || lease.until <= now;
      if (dead)
        this.#set({ ...receipt, state: "closed", closedAt: now, why: `node ${receipt.node} is gone` });
      else
        this.#set({
          ...receipt,
          state: "failed",
          why: `node ${receipt.node} did not report the connection closed`,
        });
    }
    this.#settleIfDone();
  }

  #set(receipt: Receipt): void {
    this.#receipts.set(receipt.handle, receipt);
    for (const listener of this.#listeners) listener(receipt);
  }

  #settleIfDone(): void {
    if (!this.#complete) return;
    for (const receipt of this.#receipts.values())
      if (receipt.state !== "closed" && receipt.state !== "failed") return;
    this.#stop();
    this.#cancelTimeout();
    this.#resolve(this.receipts);
  }
}

function by(who: string | undefined): { by?: string } {
  return who === undefined ? {} : { by: who };
}

/** How long a revocation's barrier stands: far longer than any create can be under way. */
const RACE_MS = 10 * 60_000;
const AT_ONCE = 64;
