import type {
  Barrier,
  JournalEntry,
  Kernel,
  LockRequest,
  Receipt,
  Revocation,
  RevokeOptions,
  Selector,
} from "../kernel/index.ts";
import { ReceiptBook } from "../kernel/index.ts";
import { announcementOf, completionOf } from "./announcement.ts";

/** One revocation or lock, who asked for it and why, and what has become of each session it meant. */
export interface RevocationRecord {
  readonly id: string;
  readonly kind: "revocation" | "lock";
  readonly at: number;
  /** Who asked for it, where they said so. */
  readonly by: string | undefined;
  readonly reason: string;
  readonly selector: Selector;
  /** The node that carries it out. */
  readonly node: string;
  /** Every receipt is `closed` or `failed`, and no more will come. */
  readonly settled: boolean;
  /** As they stand now. */
  readonly receipts: readonly Receipt[];
}

export interface RevocationsOptions {
  /** How many are remembered; 200 when left out. Those that are settled go first. */
  readonly kept?: number;
}

/**
 * Recent revocations and locks by their id, with their receipts: those this node carries out, whoever called for them,
 * and those of other nodes, followed in the journal. Nothing here is stored: after a restart, the timelines of the
 * sessions still tell who ended them and why.
 */
export class Revocations {
  readonly #kernel: Kernel;
  readonly #kept: number;
  readonly #known = new Map<string, Known>();
  readonly #listeners = new Set<(record: RevocationRecord, receipt: Receipt) => void>();
  readonly #stops: readonly (() => void)[];

  constructor(kernel: Kernel, options: RevocationsOptions = {}) {
    this.#kernel = kernel;
    this.#kept = options.kept ?? 200;
    this.#stops = [
      kernel.onRevocation((revocation) => this.#keep(new Known(kernel.node, revocation, revocation))),
      kernel.onEntry((entry) => this.#heard(entry)),
    ];
  }

  /**
   * As `kernel.revoke`: resolves when the store refuses every session, while receipts still fill in.
   * @throws HoldfastError `invalid-argument` for an empty selector, `store-unavailable`.
   */
  async revoke(selector: Selector, options: RevokeOptions): Promise<RevocationRecord> {
    const revocation = await this.#kernel.revoke(selector, options);
    return this.get(revocation.id) ?? new Known(this.#kernel.node, revocation, revocation);
  }

  /**
   * As `kernel.lock`.
   * @throws HoldfastError `invalid-argument` for an empty selector or a lock that ends in the past, `store-unavailable`.
   */
  async lock(request: LockRequest): Promise<{ barrier: Barrier; revocation: RevocationRecord }> {
    const { barrier, revocation } = await this.#kernel.lock(request);
    return {
      barrier,
      revocation: this.get(revocation.id) ?? new Known(this.#kernel.node, revocation, revocation),
    };
  }

  get(id: string): RevocationRecord | undefined {
    return this.#known.get(id);
  }

  /** The newest first. */
  list(): readonly RevocationRecord[] {
    return [...this.#known.values()].reverse();
  }

  /** Hears every receipt of every revocation as it changes. Returns how to stop. */
  onReceipt(listener: (record: RevocationRecord, receipt: Receipt) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stops following. */
  close(): void {
    for (const stop of this.#stops) stop();
    for (const known of this.#known.values()) known.forget();
  }

  /** What other nodes revoke. Shards have no order among them, so a session's end may come before its announcement. */
  #heard(entry: JournalEntry): void {
    const announced = announcementOf(entry);
    const id = announced?.id ?? completionOf(entry) ?? endedBy(entry);
    if (id === undefined) return;
    let known = this.#known.get(id);
    if (known === undefined) {
      if (entry.node === this.#kernel.node || completionOf(entry) !== undefined) return;
      known = this.#follow(id, entry);
    }
    if (announced !== undefined) known.announced(announced, entry.node);
    if (completionOf(entry) !== undefined) known.completed();
  }

  #follow(id: string, entry: JournalEntry): Known {
    const unknown = { id, kind: "revocation", selector: {}, reason: "", at: entry.at } as const;
    // It hears this very entry as well: listeners added while an entry is told are told of it.
    const book = new ReceiptBook(this.#kernel, unknown);
    const cancel = this.#kernel.clock.after(COMPLETE_MS, () => book.allEnded());
    const known = new Known(entry.node ?? "", unknown, book, () => {
      cancel();
      book.abandon();
    });
    this.#keep(known);
    return known;
  }

  #keep(known: Known): void {
    this.#known.set(known.id, known);
    known.onReceipt((receipt) => {
      for (const listener of this.#listeners) listener(known, receipt);
    });
    if (this.#known.size <= this.#kept) return;
    const oldest = [...this.#known.values()].find((one) => one.settled) ?? this.#known.values().next().value;
    if (oldest === undefined) return;
    oldest.forget();
    this.#known.delete(oldest.id);
  }
}

type About = Pick<Revocation, "id" | "kind" | "selector" | "reason" | "at"> & { readonly by?: string };

class Known implements RevocationRecord {
  #about: About;
  #node: string;
  readonly #book: Revocation | ReceiptBook;
  readonly #forget: () => void;

  constructor(node: string, about: About, book: Revocation | ReceiptBook, forget: () => void = () => {}) {
    this.#node = node;
    this.#about = about;
    this.#book = book;
    this.#forget = forget;
  }

  get id(): string {
    return this.#about.id;
  }

  get kind(): RevocationRecord["kind"] {
    return this.#about.kind;
  }

  get at(): number {
    return this.#about.at;
  }

  get by(): string | undefined {
    return this.#about.by;
  }

  get reason(): string {
    return this.#about.reason;
  }

  get selector(): Selector {
    return this.#about.selector;
  }

  get node(): string {
    return this.#node;
  }

  get settled(): boolean {
    return this.#book.isSettled;
  }

  get receipts(): readonly Receipt[] {
    return this.#book.receipts;
  }

  announced(about: About, node: string | undefined): void {
    this.#about = about;
    this.#node = node ?? this.#node;
  }

  completed(): void {
    if (this.#book instanceof ReceiptBook) this.#book.allEnded();
  }

  onReceipt(listener: (receipt: Receipt) => void): void {
    this.#book.onReceipt(listener);
  }

  forget(): void {
    this.#forget();
  }
}

function endedBy(entry: JournalEntry): string | undefined {
  const id = entry.event === "end" ? entry.detail?.["revocation"] : undefined;
  return typeof id === "string" ? id : undefined;
}

/** A node that died over its revocation never says that it is complete. */
const COMPLETE_MS = 60_000;
