import type { JournalEntry } from "./journal.ts";
import type { Kernel } from "./kernel.ts";
import type { EndNote, SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import type { NodeLease } from "./store.ts";
import type { Ended } from "./writes.ts";

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
  /** A lock ends what it meets as a revocation does. */
  readonly kind: "revocation" | "lock";
  readonly selector: Selector;
  readonly at: number;
  readonly reason: string;
  readonly by?: string;
  /** As they stand now. */
  readonly receipts: readonly Receipt[];
  /** True when every receipt is `closed` or `failed` and no more will come. */
  readonly isSettled: boolean;
  /** Hears each receipt as it changes. Returns how to stop. */
  onReceipt(listener: (receipt: Receipt) => void): () => void;
  /** Resolves when every receipt is `closed` or `failed`. */
  readonly settled: Promise<readonly Receipt[]>;
}

export type RevocationAbout = Pick<Revocation, "id" | "kind" | "selector" | "reason"> &
  Partial<Pick<Revocation, "by" | "at">>;

/** The receipts of one revocation, filled in by the node that carries it out and from the journal as nodes report. */
export class ReceiptBook implements Revocation {
  readonly id: string;
  readonly kind: Revocation["kind"];
  readonly selector: Selector;
  readonly at: number;
  readonly reason: string;
  readonly by?: string;
  readonly settled: Promise<readonly Receipt[]>;
  readonly #kernel: Kernel;
  readonly #receipts = new Map<Handle, Receipt>();
  readonly #listeners = new Set<(receipt: Receipt) => void>();
  readonly #stop: () => void;
  #open = 0;
  #resolve: (receipts: readonly Receipt[]) => void = () => {};
  #cancelTimeout: () => void = () => {};
  #complete = false;
  #isSettled = false;

  constructor(kernel: Kernel, about: RevocationAbout) {
    this.#kernel = kernel;
    this.id = about.id;
    this.kind = about.kind;
    this.selector = about.selector;
    this.at = about.at ?? kernel.clock.now();
    this.reason = about.reason;
    if (about.by !== undefined) this.by = about.by;
    this.settled = new Promise((resolve) => (this.#resolve = resolve));
    this.#stop = kernel.onEntry((entry) => this.#heard(entry));
  }

  get receipts(): readonly Receipt[] {
    return [...this.#receipts.values()];
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  onReceipt(listener: (receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  expect(record: SessionRecord): void {
    if (!this.#receipts.has(record.handle)) this.#set(this.#first(record));
  }

  /** This revocation has ended it; where a connection carried it, that is still to be closed. */
  ended({ record, carriedBy }: Ended): void {
    const receipt = this.#receipts.get(record.handle) ?? this.#first(record);
    this.#end(receipt, record.ended?.at ?? this.#kernel.clock.now(), carriedBy);
  }

  /** Somebody else ended it while this revocation was on its way to it; by this revocation: as the child of another. */
  endedOtherwise(handle: Handle, note: EndNote | undefined): void {
    const receipt = this.#receipts.get(handle);
    if (receipt === undefined || isOver(receipt) || note?.revocation === this.id) return;
    const closedAt = note?.at ?? this.#kernel.clock.now();
    const why = note === undefined ? "it is gone already" : `it ended meanwhile: ${note.reason}`;
    this.#change(receipt, { state: "closed", endedAt: closedAt, closedAt, why });
  }

  /** Every session is refused from here on; what is open now are connections, for which each node has `receiptMs`. */
  allEnded(): void {
    this.#complete = true;
    this.#settleIfDone();
    if (this.#isSettled) return;
    this.#cancelTimeout = this.#kernel.clock.after(this.#kernel.policy.receiptMs, () => {
      this.#kernel.inBackground(this.#giveUp());
    });
  }

  /** Stops listening; what is open stays as it is. */
  abandon(): void {
    this.#stop();
    this.#cancelTimeout();
  }

  #heard(entry: JournalEntry): void {
    const { handle, detail } = entry;
    if (handle === undefined || detail?.["revocation"] !== this.id) return;
    const receipt = this.#receipts.get(handle);
    if (entry.event === "end") {
      const carriedBy = detail["carriedBy"];
      const { mechanism = "", principal } = entry;
      const first = { handle, mechanism, ...(principal !== undefined && { principal }) };
      this.#end(
        receipt ?? this.#first(first),
        entry.at,
        typeof carriedBy === "string" ? carriedBy : undefined,
      );
    }
    if (receipt === undefined || isOver(receipt)) return;
    if (entry.event === "transport-signalled")
      this.#change(receipt, { state: "signalled", signalledAt: entry.at });
    if (entry.event === "transport-closed") {
      const why = detail["failed"];
      if (typeof why === "string") this.#change(receipt, { state: "failed", why });
      else this.#change(receipt, { state: "closed", closedAt: entry.at });
    }
  }

  #first({
    handle,
    mechanism,
    principal,
  }: Pick<SessionRecord, "handle" | "mechanism" | "principal">): Receipt {
    const requestedAt = this.#complete ? this.at : this.#kernel.clock.now();
    return {
      handle,
      mechanism,
      requestedAt,
      state: "requested",
      ...(principal !== undefined && { principal }),
    };
  }

  /** The caller and the journal both tell of it, in either order. */
  #end(receipt: Receipt, at: number, node: string | undefined): void {
    if (receipt.state !== "requested") return;
    if (node === undefined) this.#change(receipt, { state: "closed", endedAt: at, closedAt: at });
    else this.#change(receipt, { state: "ended", endedAt: at, node });
  }

  /** A node that is dead has no connections left; one that lives and did not answer is a failure to be seen. */
  async #giveUp(): Promise<void> {
    const open = this.receipts.filter((receipt) => !isOver(receipt));
    // Reports that were written and did not arrive, because this node's feed is away.
    for (const { handle } of open) {
      for (const entry of await this.#kernel.store.timeline(handle)) this.#heard(entry);
    }
    const nodes = new Map((await this.#kernel.store.nodes()).map((lease) => [lease.id, lease]));
    const now = this.#kernel.clock.now();
    for (const { handle } of open) {
      const receipt = this.#receipts.get(handle);
      if (receipt === undefined || isOver(receipt)) continue;
      if (receipt.node === undefined)
        this.#change(receipt, { state: "failed", why: "it could not be ended" });
      else if (isDead(nodes.get(receipt.node), now))
        this.#change(receipt, { state: "closed", closedAt: now, why: `node ${receipt.node} is gone` });
      else
        this.#change(receipt, {
          state: "failed",
          why: `node ${receipt.node} did not report the connection closed`,
        });
    }
  }

  #change(receipt: Receipt, changes: Partial<Receipt>): void {
    this.#set(Object.assign({}, receipt, changes));
  }

  #set(receipt: Receipt): void {
    const before = this.#receipts.get(receipt.handle);
    this.#open += Number(!isOver(receipt)) - Number(before !== undefined && !isOver(before));
    this.#receipts.set(receipt.handle, receipt);
    this.#settleIfDone();
    for (const listener of this.#listeners) listener(receipt);
  }

  #settleIfDone(): void {
    if (!this.#complete || this.#open > 0 || this.#isSettled) return;
    this.#isSettled = true;
    this.abandon();
    this.#resolve(this.receipts);
  }
}

function isOver({ state }: Receipt): boolean {
  return state === "closed" || state === "failed";
}

function isDead(lease: NodeLease | undefined, now: number): boolean {
  return lease === undefined || lease.gone === true || lease.until <= now;
}
