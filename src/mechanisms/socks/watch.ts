import type { Clock } from "../../kernel/index.ts";
import type { RelayOutcome } from "../../transport/relay.ts";
import type { SocksLimits } from "./options.ts";

export interface WatchOptions {
  readonly clock: Clock;
  readonly limits: Pick<SocksLimits, "idleMs" | "absoluteMs" | "maxBytes">;
  /** Bytes passed on so far. */
  readonly bytes: () => number;
  /** Called once. */
  readonly onStop: (outcome: Pick<RelayOutcome, "reason" | "why">) => void;
}

/** The limits of something that is not a pair of sockets: a UDP association. */
export class Watch {
  readonly #options: WatchOptions;
  readonly #startedAt: number;
  #lastAt: number;
  #cancel: () => void = () => {};
  #stopped = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#startedAt = options.clock.now();
    this.#lastAt = this.#startedAt;
    this.#arm();
  }

  /** Something came through; false when nothing more may. */
  traffic(): boolean {
    if (this.#stopped) return false;
    this.#lastAt = this.#options.clock.now();
    if (this.#options.bytes() < this.#options.limits.maxBytes) return true;
    this.stop("byte-limit");
    return false;
  }

  stop(reason: RelayOutcome["reason"], why?: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#cancel();
    this.#options.onStop({ reason, ...(why !== undefined && { why }) });
  }

  #arm(): void {
    const { clock, limits } = this.#options;
    const absoluteAt = this.#startedAt + limits.absoluteMs;
    const next = Math.min(this.#lastAt + limits.idleMs, absoluteAt);
    if (next === Infinity) return;
    this.#cancel = clock.after(Math.min(Math.max(next - clock.now(), 0), LONGEST_TIMER_MS), () => {
      const now = clock.now();
      if (now >= absoluteAt) this.stop("absolute-expired");
      else if (now >= this.#lastAt + limits.idleMs) this.stop("idle-expired");
      else this.#arm();
    });
  }
}

const LONGEST_TIMER_MS = 2_147_483_647;
