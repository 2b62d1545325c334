import type { CloseCause, LiveTransport } from "../kernel/live.ts";
import type { EndReason } from "../kernel/lifecycle.ts";
import type { EstablishRequest } from "../kernel/establish.ts";
import type { Kernel } from "../kernel/kernel.ts";
import { isHoldfastError } from "../kernel/errors.ts";
import type { Draft, SessionRecord } from "../kernel/record.ts";
import type { EndOptions } from "../kernel/requests.ts";
import type { Member } from "./members.ts";
import { Members } from "./members.ts";
import type { RelayOutcome } from "./relay.ts";

export interface RelaySessionsOptions {
  readonly kernel: Kernel;
  /** How often the byte counts of live sessions are written, where they changed: one write a session, not one a packet. */
  readonly countsEveryMs?: number;
  /** Hears of faults in the background. They are retried. */
  readonly onFault?: (error: unknown) => void;
}

export interface Counts {
  readonly up: number;
  readonly down: number;
}

/** What a relay's session is made from; the rest is the same for all of them. */
export type RelayRequest = Omit<EstablishRequest, "mode" | "credential" | "own" | "childless" | "transport">;

/** What carries a session, seen from the session. */
export interface Carrier {
  readonly counts: Counts;
  /** The kernel wants it closed. Resolves when it is. */
  close(cause: CloseCause): Promise<void>;
}

/** The kernel's sessions of one listener's relays: each is made, counted and ended here. */
export class RelaySessions {
  readonly #kernel: Kernel;
  readonly #everyMs: number;
  readonly #onFault: (error: unknown) => void;
  readonly #live = new Members<RelaySession>();
  readonly #unfinished = new Set<() => Promise<void>>();
  #ending = 0;
  #ended: (() => void)[] = [];
  #cancelTick: (() => void) | undefined;
  #ticking = false;

  constructor(options: RelaySessionsOptions) {
    this.#kernel = options.kernel;
    this.#everyMs = options.countsEveryMs ?? 1_000;
    this.#onFault = options.onFault ?? (() => {});
  }

  get size(): number {
    return this.#live.size;
  }

  /** @throws HoldfastError what `establish` throws: `locked`, `establish-refused`, `store-unavailable`, … */
  async open(request: RelayRequest, carrier: Carrier): Promise<RelaySession> {
    const transport = new CarrierTransport(carrier);
    const { record } = await this.#kernel.establish({
      mode: "full-duplex",
      credential: false,
      childless: true,
      transport,
      ...request,
    });
    const session = new RelaySession(this, this.#kernel, record, transport);
    this.#live.add(session);
    this.#schedule();
    return session;
  }

  /** Waits until every session that was ended is written as ended, or `ms` have passed. */
  async settled(ms: number): Promise<void> {
    const until = this.#kernel.clock.now() + ms;
    while (this.#ending > 0 || this.#unfinished.size > 0) {
      if (this.#ending > 0) await new Promise<void>((resolve) => this.#ended.push(resolve));
      if (this.#unfinished.size > 0) {
        if (this.#kernel.clock.now() >= until) return;
        await this.#retry();
      }
    }
  }

  /** For the sessions. Writes the end; when the store does not take it, again with every tick. */
  async finish(session: RelaySession, write: () => Promise<void>): Promise<void> {
    this.#live.delete(session);
    this.#ending++;
    try {
      await write();
    } catch (error) {
      this.#onFault(error);
      this.#unfinished.add(write);
      this.#schedule();
    }
    this.#ending--;
    if (this.#ending === 0) for (const resolve of this.#ended.splice(0)) resolve();
  }

  #schedule(): void {
    if (this.#cancelTick !== undefined || this.#ticking) return;
    this.#cancelTick = this.#kernel.clock.after(this.#everyMs, () => {
      this.#cancelTick = undefined;
      this.#ticking = true;
      void this.#tick().finally(() => {
        this.#ticking = false;
        if (this.#live.size > 0 || this.#unfinished.size > 0) this.#schedule();
      });
    });
  }

  async #tick(): Promise<void> {
    await this.#retry();
    let batch: Promise<void>[] = [];
    for (const session of this.#live) {
      const writing = session.writeCounts();
      if (writing === undefined) continue;
      batch.push(writing.catch(this.#onFault));
      if (batch.length < WRITES_AT_ONCE) continue;
      await Promise.all(batch);
      batch = [];
    }
    await Promise.all(batch);
  }

  async #retry(): Promise<void> {
    for (const write of this.#unfinished) {
      try {
        await write();
        this.#unfinished.delete(write);
      } catch (error) {
        this.#onFault(error);
        return;
      }
    }
  }
}

/** One relay as a session. Its checkpoint's position is the bytes passed on, its note their directions. */
export class RelaySession implements Member {
  seat = -1;
  readonly #all: RelaySessions;
  readonly #kernel: Kernel;
  readonly #transport: CarrierTransport;
  #record: SessionRecord;
  #writing: Promise<void> | undefined;

  constructor(all: RelaySessions, kernel: Kernel, record: SessionRecord, transport: CarrierTransport) {
    this.#all = all;
    this.#kernel = kernel;
    this.#record = record;
    this.#transport = transport;
  }

  get record(): SessionRecord {
    return this.#record;
  }

  /** True once the kernel has asked for its end. */
  get closing(): boolean {
    return this.#transport.closing;
  }

  /** Writes the counts as a checkpoint; `undefined` when there is nothing new to write. */
  writeCounts(): Promise<void> | undefined {
    const counts = this.#transport.carrier.counts;
    const position = counts.up + counts.down;
    if (this.#writing !== undefined || position === (this.#record.checkpoint?.position ?? 0))
      return undefined;
    this.#writing = this.#checkpoint(counts).finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Ends the session with its final counts. The carrier is closed by then. */
  end(reason: EndReason, details: { readonly by?: string; readonly why?: string } = {}): Promise<void> {
    this.#kernel.detach(this.#record, this.#transport);
    return this.#all.finish(this, () => this.#writeEnd(reason, details));
  }

  async #writeEnd(
    reason: EndReason,
    { by, why }: { readonly by?: string; readonly why?: string },
  ): Promise<void> {
    if (this.#writing !== undefined) await this.#writing;
    const { up, down } = this.#transport.carrier.counts;
    const detail: { up: number; down: number; why?: string } = { up, down };
    if (why !== undefined) detail.why = why;
    const checkpoint = { position: up + down, note: { up, down } };
    const options: Draft<EndOptions> = { reason, detail, checkpoint };
    if (by !== undefined) options.by = by;
    const ended = await this.#kernel.end(this.#record, options);
    // Somebody else ended it, before the last bytes were counted: they go into its timeline.
    if (ended === undefined) await this.#kernel.note(this.#record, detail);
  }

  async #checkpoint({ up, down }: Counts): Promise<void> {
    try {
      this.#record = await this.#kernel.checkpoint(this.#record, { position: up + down, note: { up, down } });
    } catch (error) {
      // The kernel closes the carrier in that case; there is nothing to count any more.
      if (!isHoldfastError(error, "session-ended")) throw error;
    }
  }
}

/** The carrier as the kernel sees it: from before its session is written, so that it may be closed that early. */
class CarrierTransport implements LiveTransport {
  readonly carrier: Carrier;
  closing = false;

  constructor(carrier: Carrier) {
    this.carrier = carrier;
  }

  close(cause: CloseCause): Promise<void> {
    this.closing = true;
    return this.carrier.close(cause);
  }
}

/** The kernel's word for how a relay ended, and who made it end. */
export function endOf(outcome: RelayOutcome): { reason: EndReason; by?: string; why?: string } {
  const why = outcome.why === undefined ? {} : { why: outcome.why };
  const side = outcome.by === undefined ? {} : { by: outcome.by === "near" ? "client" : "destination" };
  switch (outcome.reason) {
    case "finished":
    case "idle-expired":
    case "absolute-expired":
    case "byte-limit":
      return { reason: outcome.reason, ...why };
    case "protocol-error":
      return { reason: "protocol-error", ...side, ...why };
    case "reset":
      return { reason: "crashed", ...side, ...why };
    case "aborted":
      return { reason: "evicted", by: "holdfast", ...why };
  }
}

const WRITES_AT_ONCE = 64;
