import type { JournalDraft, Kernel } from "../../kernel/index.ts";

/** Something a stranger asked for: a call or a name that was refused, a name registered. */
export interface Probe {
  /** What happened, in a few words: `call refused`. */
  readonly what: string;
  readonly address: string;
  /** The name it was about. */
  readonly name: string;
  /** More that the first line of a window says. */
  readonly detail?: { readonly [key: string]: string };
}

/**
 * Makes what strangers ask for visible in the journal without letting a scanner fill it: the first of its kind from an
 * address is written at once, those after it are counted and written together when the window closes.
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

  /** All that were ever added. */
  get total(): number {
    return this.#total;
  }

  add({ what, address, name, detail }: Probe): void {
    this.#total++;
    // A scanner with many addresses shares one window once there are too many to tell apart.
    const own = `${what} ${address}`;
    const crowded = !this.#open.has(own) && this.#open.size >= MAX_WINDOWS;
    const key = crowded ? what : own;
    const window = this.#open.get(key);
    if (window === undefined) {
      const cancel = this.#kernel.clock.after(this.#windowMs, () => this.#close(key));
      const from = crowded ? "many addresses" : address;
      this.#open.set(key, { what, from, cancel, more: 0, names: new Set() });
      this.#write({ what, address, name, ...detail });
      return;
    }
    window.more++;
    if (window.names.size < MAX_NAMES) window.names.add(name);
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
    const { what, from, more, names } = window;
    if (more > 0) this.#write({ what, address: from, more, names: [...names] });
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
  readonly what: string;
  readonly from: string;
  readonly cancel: () => void;
  more: number;
  readonly names: Set<string>;
}

const MAX_WINDOWS = 1024;
const MAX_NAMES = 16;
