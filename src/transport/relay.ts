import type { Socket } from "node:net";
import type { Clock } from "../kernel/clock.ts";
import type { Fault } from "../wire/index.ts";
import { isFault } from "../wire/index.ts";
import type { ReadPort } from "./read-port.ts";

/** One side's socket. Open it with `allowHalfOpen: true`, or a half-close cannot be passed on. */
export interface Leg {
  readonly socket: Socket;
  /** What was read from it already and belongs to the other side. */
  readonly early?: Buffer;
  /** Its reads, when it was connected with `onread: port.onread`; otherwise its `data` events are used. */
  readonly port?: ReadPort;
  /**
   * Sees all that comes from this side before it is passed on, and returns what shall be passed on instead: the chunk
   * itself, other bytes, or none. A fault ends the relay `protocol-error`.
   */
  readonly tap?: (chunk: Buffer) => Buffer | Fault;
}

export interface RelayOptions {
  /** Who asked for the relay; what it sends goes "up". */
  readonly near: Leg;
  /** Who it was connected to; what it sends goes "down". */
  readonly far: Leg;
  readonly clock: Clock;
  /** Ends the relay `idle-expired` when neither side sent a byte for so long. */
  readonly idleMs?: number;
  /** Ends the relay `absolute-expired` at this instant, whatever happens. */
  readonly absoluteAt?: number;
  /** Bytes passed on, up and down together; then `byte-limit`. Exactly so many are delivered. */
  readonly maxBytes?: number;
  /** Both sockets are closed. Called once. */
  readonly onEnd: (outcome: RelayOutcome) => void;
}

export interface RelayOutcome {
  /** `finished`: both sides closed in an orderly way. `reset`: `by` broke the connection. Else what `abort` was given. */
  readonly reason:
    | "finished"
    | "reset"
    | "idle-expired"
    | "absolute-expired"
    | "byte-limit"
    | "protocol-error"
    | "aborted";
  readonly by?: "near" | "far";
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Why, for people: the system's error code, the fault, or what `abort` was told. */
  readonly why?: string;
}

/**
 * Two sockets made one: each side's bytes go to the other no faster than it takes them, a half-close is passed on as
 * one, and a reset as a reset, so that a cut stream never looks complete.
 */
export class Relay {
  readonly #near: Lane;
  readonly #far: Lane;
  readonly #options: RelayOptions;
  #outcome: Pick<RelayOutcome, "reason" | "by" | "why"> | undefined;
  #lastAt: number;
  #open = 2;
  #cancelTimer: (() => void) | undefined;

  /** Begins at once. */
  constructor(options: RelayOptions) {
    this.#options = options;
    this.#lastAt = options.clock.now();
    this.#near = new Lane(this, "near", options.near, options.far.socket);
    this.#far = new Lane(this, "far", options.far, options.near.socket);
    this.#arm();
    this.#near.start(options.near.early);
    this.#far.start(options.far.early);
  }

  /** Bytes passed on from near to far so far. */
  get bytesUp(): number {
    return this.#near.bytes;
  }

  get bytesDown(): number {
    return this.#far.bytes;
  }

  /** When a byte came last, from either side. */
  get lastAt(): number {
    return this.#lastAt;
  }

  /** Closes both sides at once. Nothing happens when the relay is over already. */
  abort(why?: string): void {
    this.#settle("aborted", why === undefined ? {} : { why });
  }

  /** Puts bytes of our own between those of `from`; with a framed protocol, only where a frame has just ended. */
  inject(from: "near" | "far", bytes: Buffer): void {
    if (this.#outcome !== undefined) return;
    (from === "near" ? this.#near : this.#far).target.write(bytes);
  }

  /** How many of `wanted` bytes may still pass. Marks the relay as alive. Called by its lanes only. */
  admit(wanted: number): number {
    this.#lastAt = this.#options.clock.now();
    const { maxBytes } = this.#options;
    return maxBytes === undefined ? wanted : Math.min(wanted, maxBytes - this.bytesUp - this.bytesDown);
  }

  /** A lane reports that the relay has to end. Called by its lanes only. */
  stop(reason: RelayOutcome["reason"], details: Pick<RelayOutcome, "by" | "why">): void {
    this.#settle(reason, details);
  }

  get over(): boolean {
    return this.#outcome !== undefined;
  }

  /** One of the sockets has closed; `orderly` when all it had to say and hear was said and heard. */
  closed(side: "near" | "far", orderly: boolean): void {
    if (!orderly) this.#settle("reset", { by: side });
    this.#open--;
    if (this.#open > 0) return;
    this.#cancelTimer?.();
    this.#near.release();
    this.#far.release();
    const { bytesUp, bytesDown } = this;
    this.#options.onEnd({ reason: "finished", ...this.#outcome, bytesUp, bytesDown });
  }

  #settle(reason: RelayOutcome["reason"], details: Pick<RelayOutcome, "by" | "why">): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = { reason, ...details };
    this.#cancelTimer?.();
    const sockets = [this.#options.near.socket, this.#options.far.socket];
    if (reason !== "byte-limit") {
      for (const socket of sockets) cut(socket);
      return;
    }
    // The bytes up to the limit are delivered, but nobody may draw that out.
    for (const socket of sockets) socket.destroySoon();
    this.#cancelTimer = this.#options.clock.after(LAST_BYTES_MS, () => sockets.forEach(cut));
  }

  /** One timer serves both limits; a byte does not touch it, it looks at `#lastAt` when it fires. */
  #arm(): void {
    const { clock, idleMs, absoluteAt } = this.#options;
    const idleAt = idleMs === undefined ? Infinity : this.#lastAt + idleMs;
    const next = Math.min(idleAt, absoluteAt ?? Infinity);
    if (next === Infinity) return;
    this.#cancelTimer = clock.after(Math.min(Math.max(next - clock.now(), 0), LONGEST_TIMER_MS), () => {
      const now = clock.now();
      if (absoluteAt !== undefined && now >= absoluteAt) this.#settle("absolute-expired", {});
      else if (idleMs !== undefined && now >= this.#lastAt + idleMs) this.#settle("idle-expired", {});
      else this.#arm();
    });
  }
}

/** One direction: from its own socket to the other side's. */
class Lane {
  bytes = 0;
  readonly target: Socket;
  readonly #relay: Relay;
  readonly #side: "near" | "far";
  readonly #leg: Leg;
  #waiting = false;

  constructor(relay: Relay, side: "near" | "far", leg: Leg, target: Socket) {
    this.#relay = relay;
    this.#side = side;
    this.#leg = leg;
    this.target = target;
  }

  start(early: Buffer | undefined): void {
    const { socket, port } = this.#leg;
    const before = port?.listen((chunk) => this.#pass(chunk));
    socket.on("end", () => this.#ended());
    socket.on("error", (error) => this.#failed(error));
    socket.on("close", () => {
      // Nothing comes after it. A closed socket outlives several collections, and what listens to one lives as long.
      socket.removeAllListeners();
      this.#closed();
    });
    this.target.on("drain", () => this.#drained());
    if (early !== undefined && early.length > 0) this.#pass(early);
    if (before !== undefined) this.#pass(before);
    if (port === undefined) {
      socket.on("data", (chunk: Buffer) => {
        if (this.#pass(chunk) === "pause") socket.pause();
      });
    }
    // It may have ended, or failed, before there was anybody to hear of it.
    if (socket.closed) queueMicrotask(() => this.#closed());
    else if (socket.readableEnded) this.#ended();
    else if (this.#waiting) socket.pause();
    else socket.resume();
  }

  release(): void {
    this.#leg.port?.release();
  }

  #pass(chunk: Buffer): "go" | "keep" | "pause" {
    if (this.#relay.over) return "keep";
    let bytes = chunk;
    if (this.#leg.tap !== undefined) {
      const tapped = this.#leg.tap(chunk);
      if (isFault(tapped)) {
        this.#relay.stop("protocol-error", { by: this.#side, why: tapped.why });
        return "keep";
      }
      if (this.#relay.over) return "keep";
      bytes = tapped;
    }
    // What the tap took out is no traffic of the session, and does not keep it from being idle.
    if (bytes.length === 0) return "go";
    const allowed = this.#relay.admit(bytes.length);
    const { target } = this;
    this.bytes += allowed;
    if (allowed < bytes.length) {
      if (allowed > 0) target.write(bytes.subarray(0, allowed));
      this.#relay.stop("byte-limit", { by: this.#side });
      return "keep";
    }
    const taken = target.write(bytes);
    // A false from write() alone says only that the chunk was large; what counts is what the system did not take.
    if (target.writableLength === 0) return "go";
    if (taken) return "keep";
    this.#waiting = true;
    return "pause";
  }

  #drained(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    if (!this.#leg.socket.destroyed) this.#leg.socket.resume();
  }

  #ended(): void {
    if (!this.target.destroyed) this.target.end();
  }

  #failed(error: Error): void {
    const why = "code" in error && typeof error.code === "string" ? error.code : error.message;
    this.#relay.stop("reset", { by: this.#side, why });
  }

  #closed(): void {
    const { socket } = this.#leg;
    this.#relay.closed(this.#side, socket.readableEnded && socket.writableFinished);
  }
}

/** Closes with a reset where the transport knows one: a peer must not take the cut for the end of the data. */
function cut(socket: Socket): void {
  if (socket.destroyed) return;
  // While its FIN is on the way out a socket cannot be reset: libuv refuses, and node then never closes it. All data
  // went before the FIN, so nothing is lost by closing in order.
  if (socket.writableEnded && socket.writableLength === 0) socket.destroy();
  else socket.resetAndDestroy();
}

/** How long the bytes before a byte limit may take to be delivered. */
const LAST_BYTES_MS = 2_000;
/** setTimeout takes 31 bits. */
const LONGEST_TIMER_MS = 2_147_483_647;
