import type { Fault } from "../../../wire/index.ts";
import type { LengthBits } from "../codec/session.ts";
import { KEEPALIVE } from "../codec/session.ts";
import { Scanner } from "./scanner.ts";

export interface KeepaliveRule {
  /** RFC 1002 §6 proposes 60 s. */
  readonly everyMs: number;
  /** `idle`: when nothing went out for `everyMs`. `always`: so often even while messages flow, between two of them. */
  readonly during: "idle" | "always";
}

export const DEFAULT_KEEPALIVE: KeepaliveRule = { everyMs: 60_000, during: "idle" };

export interface FlowOptions {
  readonly bits: LengthBits;
  /** Keepalives to who called; left out: none. */
  readonly near?: KeepaliveRule | undefined;
  /** Keepalives to who was called; left out: none. */
  readonly far?: KeepaliveRule | undefined;
  readonly now: number;
}

/** An open session: what passes between who called (`near`) and who was called (`far`), and the keepalives to each. */
export class Flow {
  readonly #up: Direction;
  readonly #down: Direction;

  constructor(options: FlowOptions) {
    this.#up = new Direction(options.bits, options.far, options.now);
    this.#down = new Direction(options.bits, options.near, options.now);
  }

  /** From near to far: the messages without the keepalives, or what near did wrong. */
  up(chunk: Buffer, now: number): Buffer | Fault {
    return this.#up.pass(chunk, now);
  }

  /** From far to near: the messages without the keepalives, or what far did wrong. */
  down(chunk: Buffer, now: number): Buffer | Fault {
    return this.#down.pass(chunk, now);
  }

  /**
   * The keepalive that is due to one side, to be sent before anything else; `undefined` when none is, or a message is
   * half sent: within a message it would be taken for four bytes of it.
   */
  keepalive(to: "near" | "far", now: number): Buffer | undefined {
    return (to === "near" ? this.#down : this.#up).keepalive(now);
  }

  /** When to ask for keepalives next; `undefined` when none are sent. Later than `now`, or a boundary is waited for. */
  get keepaliveAt(): number | undefined {
    const at = Math.min(this.#up.keepaliveAt, this.#down.keepaliveAt);
    return at === Infinity ? undefined : at;
  }

  get keepalivesSent(): { readonly near: number; readonly far: number } {
    return { near: this.#down.keepalivesSent, far: this.#up.keepalivesSent };
  }

  get keepalivesReceived(): { readonly near: number; readonly far: number } {
    return { near: this.#up.keepalivesTakenOut, far: this.#down.keepalivesTakenOut };
  }
}

/** One direction, with the keepalives that we send along it. */
class Direction {
  keepalivesSent = 0;
  readonly #scanner: Scanner;
  readonly #rule: KeepaliveRule | undefined;
  #sentAt: number;

  constructor(bits: LengthBits, rule: KeepaliveRule | undefined, now: number) {
    this.#scanner = new Scanner(bits);
    this.#rule = rule;
    this.#sentAt = now;
  }

  get keepalivesTakenOut(): number {
    return this.#scanner.keepalives;
  }

  get keepaliveAt(): number {
    return this.#rule === undefined ? Infinity : this.#sentAt + this.#rule.everyMs;
  }

  pass(chunk: Buffer, now: number): Buffer | Fault {
    if (this.#rule?.during === "idle") this.#sentAt = now;
    return this.#scanner.scan(chunk);
  }

  keepalive(now: number): Buffer | undefined {
    if (now < this.keepaliveAt || !this.#scanner.atBoundary) return undefined;
    this.#sentAt = now;
    this.keepalivesSent++;
    return KEEPALIVE;
  }
}
