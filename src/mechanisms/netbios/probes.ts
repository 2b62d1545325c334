import type { JournalDraft, Kernel } from "../../kernel/index.ts";

/** A call that was refused: somebody asked for a name that is not there, or may not ask. */
export interface Probe {
  readonly address: string;
  readonly called: string;
  readonly calling: string;
  /** The answer, in words. */
  readonly answer: string;
}

/**
 * Makes refused calls visible in the journal without letting a scanner fill it: the first one of an address is written
 * at once, those after it are counted and written together when the window closes.
 */
export class Probes {
  readonly #kernel: Kernel;
  readonly #windowMs: number;
  readonly #open = new Map<string, Window>();
  #total = 0;

  constructor(kernel: Kernel, windowMs: number) {
    this.#kernel = kernel;
    this.#windowMs = windowMs;
  }

  /** All refused calls so far. */
  get total(): number {
    return this.#total;
  }

  add(probe: Probe): void {
    this.#total++;
    // A scanner with many addresses shares one window once there are too many to tell apart.
    const key = this.#open.has(probe.address) || this.#open.size < MAX_ADDRESSES ? probe.address : ELSEWHERE;
    const window = this.#open.get(key);
    if (window === undefined) {
      const cancel = this.#kernel.clock.after(this.#windowMs, () => this.#close(key));
      this.#open.set(key, { cancel, more: 0, names: new Set() });
      this.#write({ what: "call refused", ...probe });
      return;
    }
    window.more++;
    if (window.names.size < MAX_NAMES) window.names.add(probe.called);
  }

  /** Writes what is still being counted. */
  flush(): void {
    for (const key of this.#open.keys()) this.#close(key);
  }

  #close(key: string): void {
    const window = this.#open.get(key);
    if (window === undefined) return;
    this.#open.delete(key);
    window.cancel();
    if (window.more === 0) return;
    this.#write({ what: "more calls refused", address: key, count: window.more, names: [...window.names] });
  }

  #write(detail: NonNullable<JournalDraft["detail"]>): void {
    const entry: JournalDraft = {
      at: this.#kernel.clock.now(),
      phase: "governance",
      event: "note",
      mechanism: "netbios",
      node: this.#kernel.node,
      detail,
    };
    this.#kernel.inBackground(this.#kernel.store.append([entry]));
  }
}

interface Window {
  readonly cancel: () => void;
  more: number;
  readonly names: Set<string>;
}

const MAX_ADDRESSES = 1024;
const MAX_NAMES = 16;
const ELSEWHERE = "many addresses";
