import type { Credit } from "../frames.ts";
import type { Agreement, Side } from "./agreement.ts";
import type { Rules } from "./rules.ts";

export interface MachineOptions {
  readonly agreement: Agreement;
  readonly side: Side;
  readonly rules: Rules;
  /** What the other side may have unacknowledged. */
  readonly credit: Credit;
  /** Bytes of own messages held in memory; above it, `writable` is false or the log takes them. */
  readonly outboxBytes: number;
  /** After so long without a sound the other side is asked for one. */
  readonly pingMs: number;
}

export interface ServerMachineOptions extends MachineOptions {
  /** With a log, nothing is sent or acknowledged before it is `stored`, and what waits is not held in memory. */
  readonly logged: boolean;
  /** Own messages that may be unacknowledged in all, the log included. */
  readonly outboxMessages: number;
  /** Simplex feeds: only so many of the newest are kept for a peer that is away. */
  readonly keepNewest?: number;
}
