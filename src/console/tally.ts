import type { Handle, JournalEntry, Kernel } from "../kernel/index.ts";
import type { History, Summary } from "./contract.ts";

/** Counts what this node sees in the journal, and how fast sessions come and go. */
export class Tally {
  readonly #kernel: Kernel;
  readonly #stop: () => void;
  readonly #events: Record<string, number> = {};
  readonly #endedByReason: Record<string, number> = {};
  /** What happened in each step of the last quarter of an hour, the oldest first; steps without anything are left out. */
  readonly #steps: Step[] = [];
  readonly #recent: Second[] = [];
  readonly #suspendedAt = new Map<Handle, number>();
  readonly #resumedAfterMs: number[] = [];

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#stop = kernel.onEntry((entry) => this.#heard(entry));
  }

  close(): void {
    this.#stop();
  }

  figures(): Pick<Summary, "events" | "endedByReason" | "rates" | "history" | "resumeAfterMs"> {
    const since = Math.floor(this.#kernel.clock.now() / 1000) - WINDOW_SECONDS;
    const recent = this.#recent.filter((second) => second.at > since);
    const perSecond = (key: "established" | "ended"): number =>
      recent.reduce((sum, second) => sum + second[key], 0) / WINDOW_SECONDS;
    const middle = [...this.#resumedAfterMs].sort((a, b) => a - b)[this.#resumedAfterMs.length >> 1];
    return {
      events: { ...this.#events },
      endedByReason: { ...this.#endedByReason },
      rates: { establishedPerSecond: perSecond("established"), endedPerSecond: perSecond("ended") },
      history: this.#history(),
      ...(middle !== undefined && { resumeAfterMs: middle }),
    };
  }

  #heard(entry: JournalEntry): void {
    add(this.#events, entry.event);
    const reason = entry.detail?.["reason"];
    if (entry.event === "end" && typeof reason === "string") add(this.#endedByReason, reason);
    if (entry.handle !== undefined) this.#heardPause(entry, entry.handle);
    const kind = KINDS[entry.event];
    if (kind === undefined) return;
    this.#step(entry.at)[kind]++;
    if (kind === "established" || kind === "ended") this.#second()[kind]++;
  }

  #heardPause({ event, at }: JournalEntry, handle: Handle): void {
    if (event === "suspend") {
      if (this.#suspendedAt.size < MOST_SUSPENDED) this.#suspendedAt.set(handle, at);
      return;
    }
    const since = this.#suspendedAt.get(handle);
    if (since === undefined || (event !== "resume" && event !== "end")) return;
    this.#suspendedAt.delete(handle);
    if (event === "end") return;
    this.#resumedAfterMs.push(at - since);
    if (this.#resumedAfterMs.length > RESUMES_KEPT) this.#resumedAfterMs.shift();
  }

  #history(): History {
    const last = Math.floor(this.#kernel.clock.now() / STEP_MS) * STEP_MS;
    const from = last - (STEPS - 1) * STEP_MS;
    const counts = {
      established: Array.from<number>({ length: STEPS }).fill(0),
      suspended: Array.from<number>({ length: STEPS }).fill(0),
      resumed: Array.from<number>({ length: STEPS }).fill(0),
      ended: Array.from<number>({ length: STEPS }).fill(0),
      refused: Array.from<number>({ length: STEPS }).fill(0),
    };
    for (const step of this.#steps) {
      const place = (step.at - from) / STEP_MS;
      if (place < 0 || place >= STEPS) continue;
      for (const name of NAMES) counts[name][place] = step[name];
    }
    return { from, stepMs: STEP_MS, ...counts };
  }

  /** Entries come nearly in order; those of other nodes may be a little late. */
  #step(when: number): Step {
    const at = Math.floor(when / STEP_MS) * STEP_MS;
    const known = this.#steps.findLast((step) => step.at <= at);
    if (known?.at === at) return known;
    const made: Step = { at, established: 0, suspended: 0, resumed: 0, ended: 0, refused: 0 };
    this.#steps.splice(known === undefined ? 0 : this.#steps.indexOf(known) + 1, 0, made);
    if (this.#steps.length > STEPS) this.#steps.shift();
    return made;
  }

  #second(): Second {
    const at = Math.floor(this.#kernel.clock.now() / 1000);
    let last = this.#recent.at(-1);
    if (last?.at !== at) {
      last = { at, established: 0, ended: 0 };
      this.#recent.push(last);
      if (this.#recent.length > WINDOW_SECONDS + 1) this.#recent.shift();
    }
    return last;
  }
}

type Name = Exclude<keyof History, "from" | "stepMs">;
type Step = { readonly at: number } & Record<Name, number>;
type Second = { readonly at: number } & Record<"established" | "ended", number>;

function add(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

const NAMES = ["established", "suspended", "resumed", "ended", "refused"] as const;
const KINDS: Readonly<Partial<Record<string, Name>>> = {
  establish: "established",
  suspend: "suspended",
  resume: "resumed",
  end: "ended",
  "late-use": "refused",
  reuse: "refused",
};
const WINDOW_SECONDS = 10;
const STEP_MS = 5_000;
const STEPS = 180;
const MOST_SUSPENDED = 100_000;
const RESUMES_KEPT = 500;
