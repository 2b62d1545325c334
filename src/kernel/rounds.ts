import type { Core } from "./core.ts";

/** What is done again and again while the kernel lives. */
export class Rounds {
  readonly #core: Core;
  readonly #cancels = new Set<() => void>();
  #stopped = false;

  constructor(core: Core) {
    this.#core = core;
  }

  /** `pass`, each time `ms` after the one before has ended; a long one of one kind does not hold up another. */
  every(ms: number, pass: () => Promise<unknown>): void {
    if (this.#stopped) return;
    const cancel = this.#core.clock.after(ms, () => {
      this.#cancels.delete(cancel);
      if (!this.#stopped) this.#core.inBackground(pass().finally(() => this.every(ms, pass)));
    });
    this.#cancels.add(cancel);
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#cancels) cancel();
  }
}
