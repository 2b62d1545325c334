import type { Socket } from "node:net";
import type { CloseCause, EndReason, Json, Kernel, SessionRecord } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import type { RelayOutcome } from "../../transport/relay.ts";
import { Relay } from "../../transport/relay.ts";
import type { ReadPort } from "../../transport/read-port.ts";
import type { Settings } from "./options.ts";
import { Flow } from "./machine/flow.ts";

export interface CarriedLegs {
  readonly client: Socket;
  readonly clientEarly: Buffer;
  readonly backend: Socket;
  readonly backendPort: ReadPort;
  readonly backendEarly: Buffer | undefined;
  /** The backend takes part in the session service, so it gets keepalives too. */
  readonly backendKeepalives: boolean;
}

/** An open session being relayed: its counts go to the store, its keepalives to the peers, its end to the kernel. */
export class Carried {
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<RelayOutcome>;
  readonly #kernel: Kernel;
  readonly #settings: Settings;
  readonly #legs: CarriedLegs;
  readonly #flow: Flow;
  #record: SessionRecord;
  #relay: Relay | undefined;
  #cancelKeepalive: () => void = () => {};
  #cancelCounts: () => void = () => {};
  #stored = 0;
  #evicted: string | undefined;

  constructor(kernel: Kernel, settings: Settings, record: SessionRecord, legs: CarriedLegs) {
    const now = kernel.clock.now();
    const rule = settings.keepalive;
    this.#kernel = kernel;
    this.#settings = settings;
    this.#record = record;
    this.#legs = legs;
    this.#flow = new Flow({
      bits: settings.bits,
      near: rule,
      far: legs.backendKeepalives ? rule : undefined,
      now,
    });
    this.closed = new Promise((resolve) => {
      this.#relay = this.#start(resolve);
    });
    this.#armKeepalive();
    this.#armCounts();
  }

  get bytesUp(): number {
    return this.#relay?.bytesUp ?? 0;
  }

  get bytesDown(): number {
    return this.#relay?.bytesDown ?? 0;
  }

  get keepalivesSent(): number {
    const { near, far } = this.#flow.keepalivesSent;
    return near + far;
  }

  /** The kernel's word: the session has ended or may not be carried here any more. */
  async close(cause: CloseCause): Promise<void> {
    if (cause.kind !== "ended") return this.evict(cause.kind);
    this.#relay?.abort(cause.note.reason);
    await this.closed;
  }

  /** Ends the session `evicted`, for the gateway's own reasons. */
  async evict(why: string): Promise<void> {
    this.#evicted = why;
    this.#relay?.abort(why);
    await this.closed;
  }

  #start(resolve: (outcome: RelayOutcome) => void): Relay {
    const { client, clientEarly, backend, backendPort, backendEarly } = this.#legs;
    const { limits } = this.#settings;
    const { clock } = this.#kernel;
    return new Relay({
      near: { socket: client, early: clientEarly, tap: (chunk) => this.#up(chunk) },
      far: {
        socket: backend,
        port: backendPort,
        ...(backendEarly !== undefined && { early: backendEarly }),
        tap: (chunk) => this.#down(chunk),
      },
      clock,
      ...(limits.idleMs !== Infinity && { idleMs: limits.idleMs }),
      ...(this.#record.absoluteAt !== undefined && { absoluteAt: this.#record.absoluteAt }),
      ...(limits.bytes !== Infinity && { maxBytes: limits.bytes }),
      onEnd: (outcome) => {
        this.#cancelKeepalive();
        this.#cancelCounts();
        resolve(outcome);
      },
    });
  }

  #up(chunk: Buffer): ReturnType<Flow["up"]> {
    const now = this.#kernel.clock.now();
    this.#keepalive("far", now);
    return this.#flow.up(chunk, now);
  }

  #down(chunk: Buffer): ReturnType<Flow["down"]> {
    const now = this.#kernel.clock.now();
    this.#keepalive("near", now);
    return this.#flow.down(chunk, now);
  }

  /** Sends the keepalive that is due to one side, unless that side has not even taken what it was sent before. */
  #keepalive(to: "near" | "far", now: number): void {
    const socket = to === "near" ? this.#legs.client : this.#legs.backend;
    if (this.#relay === undefined || this.#relay.over || socket.writableLength > 0 || !socket.writable)
      return;
    const bytes = this.#flow.keepalive(to, now);
    // The relay names a direction by where it comes from.
    if (bytes !== undefined) this.#relay.inject(to === "near" ? "far" : "near", bytes);
  }

  #armKeepalive(): void {
    const { clock } = this.#kernel;
    const at = this.#flow.keepaliveAt;
    if (at === undefined) return;
    const everyMs = this.#settings.keepalive?.everyMs ?? 0;
    // One that is due and waits for the end of a message is sent before the next one; until then look again now and then.
    const waitMs = at > clock.now() ? at - clock.now() : everyMs;
    this.#cancelKeepalive = clock.after(waitMs, () => {
      if (this.#relay?.over !== false) return;
      const now = clock.now();
      this.#keepalive("near", now);
      this.#keepalive("far", now);
      this.#armKeepalive();
    });
  }

  /** A touch of the session and its counts are one write, and only when bytes have passed. */
  #armCounts(): void {
    const { limits } = this.#settings;
    this.#cancelCounts = this.#kernel.clock.after(Math.min(limits.countsMs, limits.idleMs / 4), () => {
      if (this.#relay?.over !== false) return;
      this.#armCounts();
      if (this.bytesUp + this.bytesDown !== this.#stored) this.#kernel.inBackground(this.#storeCounts());
    });
  }

  async #storeCounts(): Promise<void> {
    const { bytesUp, bytesDown } = this;
    this.#stored = bytesUp + bytesDown;
    try {
      this.#record = await this.#kernel.update<{ [key: string]: Json }>(this.#record, (data) => {
        data["bytesUp"] = bytesUp;
        data["bytesDown"] = bytesDown;
      });
    } catch (error) {
      // It was ended meanwhile, which closes this relay too; its last counts are in its end.
      if (!isHoldfastError(error, "session-ended")) throw error;
    }
  }

  /** Writes the end, once the sockets are closed. When the kernel ended it, only the last counts are noted. */
  async settle(): Promise<void> {
    const outcome = await this.closed;
    if (this.bytesUp + this.bytesDown !== this.#stored) await this.#storeCounts();
    const { reason, limit } = endOf(outcome, this.#evicted);
    const { bytesUp, bytesDown, by, why } = outcome;
    const detail = {
      bytesUp,
      bytesDown,
      ...(by !== undefined && { side: by === "near" ? "client" : "backend" }),
      ...(why !== undefined && { why }),
      ...(limit !== undefined && { limit }),
    };
    const ended = await this.#kernel.end(this.#record.handle, { reason, detail });
    if (ended === undefined) await this.#kernel.note(this.#record, detail);
  }
}

function endOf(outcome: RelayOutcome, evicted: string | undefined): { reason: EndReason; limit?: string } {
  switch (outcome.reason) {
    case "finished":
    case "idle-expired":
    case "absolute-expired":
    case "protocol-error":
      return { reason: outcome.reason };
    case "byte-limit":
      return { reason: "evicted", limit: "bytes" };
    case "reset":
      return { reason: "crashed" };
    case "aborted":
      return { reason: evicted === undefined ? "revoked" : "evicted" };
  }
}
