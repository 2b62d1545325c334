/** Work that goes on beside the request that caused it, and has to be done before the storage may be closed. */
export class Background {
  readonly #running = new Set<Promise<unknown>>();
  readonly #fault: (error: unknown) => void;

  constructor(fault: (error: unknown) => void) {
    this.#fault = fault;
  }

  run(work: Promise<unknown> | undefined): void {
    if (work === undefined) return;
    const watched: Promise<unknown> = work.catch(this.#fault).finally(() => this.#running.delete(watched));
    this.#running.add(watched);
  }

  /** Resolves when nothing is running any more. */
  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
