import type {
  Barrier,
  Kernel,
  LockRequest,
  Receipt,
  Revocation,
  RevokeOptions,
  Selector,
} from "../kernel/index.ts";

/** One revocation or lock, who asked for it and why, and what has become of each session it meant. */
export interface RevocationRecord {
  readonly id: string;
  readonly kind: "revocation" | "lock";
  readonly at: number;
  readonly by?: string;
  readonly reason: string;
  readonly selector: Selector;
  /** The node that carries it out. */
  readonly node: string;
  /** Every receipt is `closed` or `failed`. */
  readonly settled: boolean;
  /** As they stand now. */
  readonly receipts: readonly Receipt[];
}

/** Recent revocations by their id, so that others can follow receipts while they fill in. */
export class Revocations {
  readonly #kernel: Kernel;
  readonly #kept: number;
  readonly #known = new Map<string, Known>();
  readonly #listeners = new Set<(record: RevocationRecord, receipt: Receipt) => void>();

  constructor(kernel: Kernel, options: { readonly kept?: number } = {}) {
    this.#kernel = kernel;
    this.#kept = options.kept ?? 200;
  }

  /** As `kernel.revoke`, and remembered. */
  async revoke(selector: Selector, options: RevokeOptions): Promise<RevocationRecord> {
    const revocation = await this.#kernel.revoke(selector, options);
    return this.#keep("revocation", revocation, options).view();
  }

  /** As `kernel.lock`, and remembered. */
  async lock(request: LockRequest): Promise<{ barrier: Barrier; revocation: RevocationRecord }> {
    const { barrier, revocation } = await this.#kernel.lock(request);
    return { barrier, revocation: this.#keep("lock", revocation, request).view() };
  }

  get(id: string): RevocationRecord | undefined {
    return this.#known.get(id)?.view();
  }

  /** The newest first. */
  list(): readonly RevocationRecord[] {
    return [...this.#known.values()].reverse().map((known) => known.view());
  }

  /** Hears every receipt of every revocation as it changes. Returns how to stop. */
  onReceipt(listener: (record: RevocationRecord, receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #keep(kind: RevocationRecord["kind"], revocation: Revocation, options: RevokeOptions): Known {
    const known = new Known(kind, revocation, options, this.#kernel.node);
    this.#known.set(revocation.id, known);
    for (const id of this.#known.keys()) {
      if (this.#known.size <= this.#kept) break;
      this.#known.delete(id);
    }
    revocation.onReceipt((receipt) => {
      const record = known.view();
      for (const listener of this.#listeners) listener(record, receipt);
    });
    return known;
  }
}

class Known {
  readonly #kind: RevocationRecord["kind"];
  readonly #revocation: Revocation;
  readonly #options: RevokeOptions;
  readonly #node: string;

  constructor(kind: RevocationRecord["kind"], revocation: Revocation, options: RevokeOptions, node: string) {
    this.#kind = kind;
    this.#revocation = revocation;
    this.#options = options;
    this.#node = node;
  }

  view(): RevocationRecord {
    const { id, at, selector, receipts } = this.#revocation;
    const { reason, by } = this.#options;
    return {
      id,
      kind: this.#kind,
      at,
      reason,
      ...(by !== undefined && { by }),
      selector,
      node: this.#node,
      settled: receipts.every(({ state }) => state === "closed" || state === "failed"),
      receipts,
    };
  }
}
