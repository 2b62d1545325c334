import type { SessionRecord } from "../../kernel/index.ts";

/** How many invalidations are remembered; a read that took longer than this many is not cached. A power of two. */
const WINDOW = 4096;

/**
 * The latest invalidations in order, so that what a read brings back can be judged: a change that was announced while
 * the read was under way may be younger than its answer.
 */
export class Invalidations {
  #count = 0;
  readonly #subjects: string[] = Array.from({ length: WINDOW }, () => "");
  readonly #versions: Float64Array = new Float64Array(WINDOW);

  /** Where the list ends now: taken before a read, handed to `allows` after it. */
  get mark(): number {
    return this.#count;
  }

  /** `subject` is a handle or a principal; what is at least as new as `version` is not affected. */
  note(subject: string, version: number): void {
    const slot = this.#count++ & (WINDOW - 1);
    this.#subjects[slot] = subject;
    this.#versions[slot] = version;
  }

  /** From here on nothing read before counts. */
  voidMarks(): void {
    this.#count += WINDOW + 1;
    this.#subjects.fill("");
  }

  /** False when something noted since `mark` may be younger than `record`, or too much was noted to know. */
  allows(record: SessionRecord, mark: number): boolean {
    if (this.#count - mark > WINDOW) return false;
    for (let at = mark; at < this.#count; at++) {
      const slot = at & (WINDOW - 1);
      const subject = this.#subjects[slot];
      const version = this.#versions[slot] ?? Infinity;
      if ((subject === record.handle || subject === record.principal) && record.version < version)
        return false;
    }
    return true;
  }
}
