import type { Kernel } from "../kernel/index.ts";
import type { Summary } from "./contract.ts";

/** Counts what this node sees in the journal, and how fast sessions come and go. */
export class Tally {
  readonly #kernel: Kernel;
  readonly #stop: () => void;
  readonly #events: Record<string, number> = {};
  readonly #endedByReason: Record<string, number> = {};
  /** Establishments and ends of each of the last seconds, the oldest overwritten. */
  readonly #seconds: { at: number; established: number; ended: number }[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#stop = kernel.onEntry((entry) => {
      add(this.#events, entry.event);
      const reason = entry.detail?.["reason"];
      if (entry.event === "end" && typeof reason === "string") add(this.#endedByReason, reason);
      if (entry.event === "establish") this.#second().established++;
      if (entry.event === "end") this.#second().ended++;
    });
  }

  close(): void {
    this.#stop();
  }

  figures(): Pick<Summary, "events" | "endedByReason" | "rates"> {
    const since = Math.floor(this.#kernel.clock.now() / 1000) - WINDOW_SECONDS;
    const recent = this.#seconds.filter((second) => second.at > since);
    const perSecond = (key: "established" | "ended"): number =>
      recent.reduce((sum, second) => sum + second[key], 0) / WINDOW_SECONDS;
    return {
      events: { ...this.#events },
      endedByReason: { ...this.#endedByReason },
      rates: { establishedPerSecond: perSecond("established"), endedPerSecond: perSecond("ended") },
    };
  }

  #second(): { at: number; established: number; ended: number } {
    const at = Math.floor(this.#kernel.clock.now() / 1000);
    let last = this.#seconds.at(-1);
    if (last?.at !== at) {
      last = { at, established: 0, ended: 0 };
      this.#seconds.push(last);
      if (this.#seconds.length > WINDOW_SECONDS + 1) this.#seconds.shift();
    }
    return last;
  }
}

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

const WINDOW_SECONDS = 10;
