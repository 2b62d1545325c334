import type { ContentType } from "../codec.ts";
import type { Refused, Storage } from "./events.ts";
import { Inbox } from "./inbox.ts";
import { DialogMachine } from "./machine.ts";
import type { ServerMachineOptions } from "./options.ts";
import type { Entry } from "./outbox.ts";
import { ServerOutbox } from "./server-outbox.ts";
import type { Mark } from "./state.ts";
import { Unstored } from "./unstored.ts";

/**
 * A dialog's side with what a server needs beyond a client: a log behind its messages, by which another process can go on
 * (what must survive goes out by `storage`), and feeds that keep only the newest.
 */
export class ServerMachine extends DialogMachine {
  readonly #options: ServerMachineOptions;
  declare protected readonly outbox: ServerOutbox;
  readonly #unstored: Unstored = new Unstored();
  #markDue: boolean;
  /** The log keeps own content from here on, acknowledged or not: whoever goes on must find what was sent last. */
  #kept = Infinity;

  /** With `from`, as a log has it: the last mark, and where the entries behind it begin and end. */
  constructor(
    options: ServerMachineOptions,
    from?: { readonly mark: Mark; readonly first: number; readonly sent: number },
  ) {
    super(options, new ServerOutbox(options.outboxBytes, options.logged));
    this.#options = options;
    this.#markDue = options.logged;
    if (from === undefined) return;
    this.#kept = from.first;
    this.#restore(from.mark, from.sent);
  }

  override get writable(): boolean {
    const { keepNewest, outboxBytes, outboxMessages, logged } = this.#options;
    if (keepNewest !== undefined) return true;
    if (this.backlog >= outboxMessages) return false;
    return logged ? this.#unstored.bytes < outboxBytes && this.withinWindow : super.writable;
  }

  override send(kind: ContentType, bytes: Uint8Array): number | Refused {
    const number = super.send(kind, bytes);
    if (typeof number === "number") this.#kept = number;
    const { keepNewest } = this.#options;
    if (keepNewest !== undefined && this.outbox.dropOldest(keepNewest)) this.#markDue = this.#options.logged;
    return number;
  }

  // ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** What has to be stored since the last call. */
  storage(): Storage | undefined {
    const { logged } = this.#options;
    if (!logged || (!this.#unstored.hasNew && !this.#markDue)) return undefined;
    const entries = this.#unstored.takeNew();
    const mark = this.#markDue ? this.#mark() : undefined;
    this.#markDue = false;
    const { sent, acked, droppedBelow } = this.outbox;
    const receipt = { sent, committed: this.inbox.committed };
    const trim = Math.min(Math.max(acked, Math.min(droppedBelow, sent)), this.#kept);
    return { entries, mark, trim, receipt };
  }

  /** A `storage` is safe; earlier ones are as well. */
  stored(receipt: Storage["receipt"]): void {
    this.outbox.released = receipt.sent;
    this.inbox.ackable = Math.max(this.inbox.ackable, receipt.committed);
    this.#unstored.settle(receipt.sent);
  }

  /** The number from which entries must be read off the log, to go on sending. */
  get wanted(): number | undefined {
    return this.link.up ? this.outbox.wanted : undefined;
  }

  refill(entries: readonly Entry[]): void {
    this.outbox.refill(entries);
    this.outbox.refill(this.#unstored.entries);
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  protected override accept(frame: Uint8Array): number {
    const number = super.accept(frame);
    if (this.#options.logged) this.#unstored.add({ number, frame });
    return number;
  }

  protected override settleInbox(): void {
    if (this.#options.logged) this.#markDue = true;
    else super.settleInbox();
  }

  #mark(): Mark {
    const { sent, acked, purgedBelow, droppedBelow } = this.outbox;
    const { committed, applied } = this.inbox;
    const { sinceCheckpoint } = this;
    const state = { ...this.state };
    return { committed, applied, sent, acked, purgedBelow, droppedBelow, sinceCheckpoint, state };
  }

  #restore(mark: Mark, sent: number): void {
    this.kept = { ...mark.state };
    this.inbox = new Inbox(mark.committed, mark.applied);
    this.sinceCheckpoint = mark.sinceCheckpoint;
    this.#markDue = false;
    const { outbox } = this;
    outbox.sent = outbox.released = Math.max(sent, mark.sent);
    outbox.purgedBelow = mark.purgedBelow;
    outbox.droppedBelow = mark.droppedBelow;
    outbox.acknowledge(mark.acked);
  }
}
