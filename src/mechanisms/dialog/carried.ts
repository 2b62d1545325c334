import type { CredentialKey, EndReason, Kernel, SessionRecord } from "../../kernel/index.ts";
import { HoldfastError, isHoldfastError } from "../../kernel/index.ts";
import type { AppendOutcome } from "../../kernel/log.ts";
import type { Fault } from "../../wire/fault.ts";
import { isFault } from "../../wire/fault.ts";
import { Chronicle } from "./chronicle.ts";
import type { Link } from "./client.ts";
import type { ContentType } from "./codec.ts";
import { FrameReader } from "./codec.ts";
import { Dialog } from "./dialog.ts";
import type { DialogEnd, DialogHost } from "./told.ts";
import type { Credit, Position } from "./frames.ts";
import { ABORT } from "./numbers.ts";
import { encodeMark } from "./machine/mark.ts";
import type { DialogEvent } from "./machine/events.ts";
import { explain } from "./machine/reasons.ts";
import type { ServerMachine } from "./machine/server-machine.ts";
import type { Settings } from "./options.ts";

/** Own content as it was sent. */
export interface LastSent {
  readonly kind: ContentType;
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** A dialog that this node owns: its machine, its stream in the log, and the link it is on, if any. */
export class CarriedDialog implements DialogHost {
  readonly dialog: Dialog;
  readonly machine: ServerMachine;
  record: SessionRecord;
  readonly #settings: Settings;
  readonly #kernel: Kernel;
  /** The epoch the log was opened with; later ones of this same process need not open it again. */
  readonly #logEpoch: number;
  readonly #gone: (carried: CarriedDialog) => void;
  #link: Link | undefined;
  #detach: (() => void) | undefined;
  /** The client has shown that it has the secret of the last RESUMED. */
  /** The secret that was offered over the link and is not known to have arrived. */
  #toConfirm: CredentialKey | undefined;
  #scheduled = false;
  #refilling = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = 0;
  #over = false;
  #major: number;
  readonly #chronicle: Chronicle;
  /** Writes of this session's record, one after the other. */
  #writes: Promise<unknown> = Promise.resolve();

  constructor(
    settings: Settings,
    record: SessionRecord,
    machine: ServerMachine,
    logEpoch: number,
    gone: (carried: CarriedDialog) => void,
  ) {
    this.#settings = settings;
    this.#kernel = settings.kernel;
    this.record = record;
    this.machine = machine;
    this.#logEpoch = logEpoch;
    this.#gone = gone;
    this.#major = machine.state.vr;
    this.#chronicle = new Chronicle(machine, (line) => {
      if (!this.#over) this.#kernel.note(this.record, line).catch(settings.onFault);
    });
    this.dialog = new Dialog(machine, this);
  }

  get handle(): string {
    return this.record.handle;
  }

  get over(): boolean {
    return this.#over;
  }

  get linked(): boolean {
    return this.#link !== undefined;
  }

  // ── links ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a link; the one before, half-open or not, is cut off. Its first message says that `toConfirm` has arrived. */
  take(link: Link, peer: Position, credit: Credit, toConfirm: CredentialKey | undefined): Fault | undefined {
    this.unlink();
    const why = this.machine.linkUp(peer, credit, Date.now());
    if (why !== undefined) return why;
    this.#link = link;
    this.#toConfirm = toConfirm;
    return undefined;
  }

  /** From here on the link is used, and the kernel can have it closed. */
  async start(): Promise<void> {
    const link = this.#link;
    this.dialog.linkChanged("up");
    this.changed();
    const detach = await this.#kernel.attach(this.record, {
      close: ({ kind }) => {
        if (this.#link === link) this.unlink(kind === "ended" ? ABORT.revoked : ABORT.superseded);
        if (kind === "taken-over") this.close({ reason: "moved", why: "another node has it now" });
      },
    });
    if (this.#link === link && !this.#over) this.#detach = detach;
    else detach();
  }

  message(link: Link, bytes: Uint8Array): void {
    if (this.#link !== link) return;
    const key = this.#toConfirm;
    if (key !== undefined) {
      this.#toConfirm = undefined;
      this.#write((record) => this.#kernel.confirm(record, { key }));
    }
    const fault = this.machine.receive(bytes, Date.now());
    this.#absorb();
    if (fault !== undefined) this.#misbehaved(fault);
    else this.changed();
  }

  /** The link is gone by itself. */
  lost(link: Link): void {
    if (this.#link !== link) return;
    this.unlink();
    if (this.#over) return;
    // Whoever resumes it meanwhile has another epoch, and this comes too late.
    const { owner } = this.record;
    this.#write((record) => this.#kernel.suspend(record, { fence: owner }));
  }

  /** Takes the link off, with a word for the other side if there is one. */
  unlink(code?: number, why = ""): void {
    const link = this.#link;
    this.#detach?.();
    this.#detach = undefined;
    if (link === undefined) return;
    if (code !== undefined) {
      this.machine.farewell({ type: "abort", code, why });
      this.#flush();
    }
    this.#link = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.machine.linkDown();
    link.close();
    this.dialog.linkChanged("down");
  }

  /** Asks the client to go to `url` within that time; the link stays until it has. */
  migrate(url: string, withinMs: number): void {
    this.machine.farewell({ type: "migrate", url, withinMs });
    this.#flush();
  }

  drained(): void {
    this.#flush();
  }

  // ── what the dialog asks for ────────────────────────────────────────────────────────────────────────────────

  changed(): void {
    if (this.#scheduled || this.#over) return;
    this.#scheduled = true;
    process.nextTick(() => {
      this.#scheduled = false;
      if (!this.#over) this.#chronicle.look(Date.now());
      this.#store();
      this.#flush();
    });
  }

  async lastSent(): Promise<LastSent | undefined> {
    const { log } = this.#settings;
    const { sent } = this.machine.own;
    for (let end = sent; log !== undefined && end > 0; end -= LOOK_BACK) {
      const from = Math.max(0, end - LOOK_BACK);
      const page = { entries: end - from, bytes: Infinity };
      const entries = await log.read(this.record.handle, from, page);
      for (const { number, bytes } of entries.filter((entry) => entry.number < end).reverse()) {
        const frame = new FrameReader(bytes).next();
        if (isFault(frame)) return undefined;
        if (frame?.type === "data" || frame?.type === "text" || frame?.type === "typed")
          return { kind: frame.type, number, bytes: frame.bytes };
      }
      // A read gives the first there is, when what was asked for is gone.
      if ((entries[0]?.number ?? end) > from) return undefined;
    }
    return undefined;
  }

  abort(why: string): void {
    this.unlink(ABORT.user, why);
    this.end("bye", { reason: "aborted", why });
  }

  explain(reason: string): string {
    return explain(reason);
  }

  /** Ends the session for good. */
  end(reason: EndReason, end: DialogEnd): void {
    if (this.#over) return;
    this.close(end);
    const { log, onFault } = this.#settings;
    const ending = this.#kernel
      .end(this.record, { reason, detail: { why: end.why } })
      .then(() => log?.drop(this.record.handle, this.#logEpoch))
      .catch(onFault);
    this.#writes = Promise.all([this.#writes, ending]);
  }

  /** This process is done with it; the session may go on elsewhere. */
  close(end: DialogEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#chronicle.close();
    this.unlink();
    this.dialog.close(end);
    this.#gone(this);
  }

  /** Waits until everything that is being written of it is written. */
  async settled(): Promise<void> {
    await this.#writes;
  }

  // ── moving ──────────────────────────────────────────────────────────────────────────────────────────────────

  #absorb(): void {
    this.dialog.absorb((event) => this.#hear(event));
    const { machine } = this;
    if (machine.state.vr > this.#major) this.#checkpoint(machine.state.vr);
    if (machine.settled && !this.#over) {
      this.#flush();
      this.end("finished", { reason: "finished", why: "" });
    }
  }

  /** A major point is where the session can be seen to stand, in messages that both sides are done with. */
  #checkpoint(vr: number): void {
    this.#major = vr;
    const { owner } = this.record;
    const position = this.machine.position.committed + this.machine.own.acked;
    this.#write((record) =>
      this.#kernel.checkpoint(record, { position, note: { major: vr - 1 } }, { fence: owner }),
    );
  }

  #hear(event: DialogEvent): void {
    if (event.type === "quiet" && this.#link !== undefined) this.lost(this.#link);
    else if (event.type === "suspend" && this.#link !== undefined) this.lost(this.#link);
    else if (event.type === "abort") this.end("bye", { reason: "aborted", why: event.why });
  }

  #misbehaved(fault: Fault): void {
    const why = explain(fault.why);
    this.unlink(ABORT.protocolError, why);
    this.end("protocol-error", { reason: "failed", why });
  }

  #store(): void {
    const { log, durability } = this.#settings;
    const storage = log === undefined || this.#over ? undefined : this.machine.storage();
    if (log === undefined || storage === undefined) return;
    const { entries, mark, trim, receipt } = storage;
    const batch = {
      from: entries[0]?.number ?? receipt.sent,
      entries: entries.map((entry) => entry.frame),
      trim,
      ...(mark !== undefined && { mark: encodeMark(mark) }),
    };
    log.append(this.record.handle, this.#logEpoch, batch, durability).then(
      (outcome) => this.#stored(outcome, receipt),
      (error: unknown) => this.#failed(error),
    );
  }

  #stored(outcome: AppendOutcome, receipt: { sent: number; committed: number }): void {
    if (this.#over) return;
    if (outcome === "appended") {
      this.machine.stored(receipt);
      this.#absorb();
      this.#flush();
      return;
    }
    // A node that lost the dialog, and does not know yet: nothing more may leave it.
    this.#link?.close();
    this.close({
      reason: "moved",
      why: outcome === "fenced" ? "another node has it now" : "its log was written by another",
    });
  }

  /** What could not be stored was not accepted: this process cannot go on with it, but the stored part can be resumed. */
  #failed(error: unknown): void {
    this.#settings.onFault(error);
    if (this.#over) return;
    if (this.#link !== undefined) this.lost(this.#link);
    this.close({ reason: "failed", why: isHoldfastError(error) ? error.message : "the log failed" });
  }

  #flush(): void {
    const link = this.#link;
    if (link === undefined) return;
    const { machine } = this;
    while (link.bufferedAmount < HIGH_WATER) {
      const bytes = machine.output(BATCH_BYTES);
      if (bytes === undefined) break;
      link.send(bytes);
    }
    if (machine.wanted !== undefined) this.#refill();
    const now = Date.now();
    const due = machine.tick(now);
    // One that goes off too early looks again: cheaper than another timer for everything that is heard.
    if (due === Infinity || (this.#timer !== undefined && this.#timerAt <= due)) return;
    clearTimeout(this.#timer);
    this.#timerAt = due;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        machine.tick(Date.now());
        this.#absorb();
        this.#flush();
      },
      Math.max(due - now, 1),
    );
    this.#timer.unref();
  }

  /** Reads on in the log, a page at a time. */
  #refill(): void {
    const { log, onFault } = this.#settings;
    const from = this.machine.wanted;
    if (log === undefined || from === undefined || this.#refilling) return;
    this.#refilling = true;
    log
      .read(this.record.handle, from, PAGE)
      .then((entries) => {
        if (entries[0]?.number !== from)
          throw new HoldfastError("store-corrupt", `The log of ${this.handle} has no message ${from}.`);
        this.machine.refill(entries.map((entry) => ({ number: entry.number, frame: entry.bytes })));
      })
      .then(
        () => {
          this.#refilling = false;
          this.#flush();
        },
        (error: unknown) => {
          this.#refilling = false;
          if (isHoldfastError(error, "store-corrupt")) this.#failed(error);
          else {
            onFault(error);
            if (this.#link !== undefined) this.lost(this.#link);
          }
        },
      );
  }

  #write(write: (record: SessionRecord) => Promise<SessionRecord>): void {
    this.#writes = this.#writes.then(async () => {
      try {
        this.record = await write(this.record);
      } catch (error) {
        const late = isHoldfastError(error) && LATE.has(error.code);
        if (!late) this.#settings.onFault(error);
      }
    });
  }
}

/** The session has gone on or ended without waiting for this write. */
const LATE: ReadonlySet<string> = new Set(["session-ended", "session-fenced", "illegal-transition"]);
const LOOK_BACK = 64;
const HIGH_WATER = 1_048_576;
const BATCH_BYTES = 65_536;
const PAGE = { entries: 2000, bytes: 262_144 };
