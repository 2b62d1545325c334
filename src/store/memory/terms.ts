import type { Handle } from "../../kernel/secret.ts";
import { SortedBlocks } from "./sorted-blocks.ts";

/** Ordered sets of handles by index term. Most terms of a million principals hold one handle: those cost no set. */
export class Terms {
  readonly #sets = new Map<string, Handle | Handles>();

  add(term: string, handle: Handle): void {
    const there = this.#sets.get(term);
    if (there === undefined || there === handle) {
      this.#sets.set(term, handle);
    } else if (typeof there === "string") {
      const set = new Handles();
      set.add(there);
      set.add(handle);
      this.#sets.set(term, set);
    } else {
      there.add(handle);
    }
  }

  delete(term: string, handle: Handle): void {
    const there = this.#sets.get(term);
    if (there === handle) this.#sets.delete(term);
    else if (typeof there === "object" && there.delete(handle) && there.size === 0) this.#sets.delete(term);
  }

  size(term: string): number {
    const there = this.#sets.get(term);
    return typeof there === "object" ? there.size : there === undefined ? 0 : 1;
  }

  /** The handles of `term` above `after`, in order. */
  *walk(term: string, after: Handle | undefined): Generator<Handle> {
    const there = this.#sets.get(term);
    if (typeof there === "object") yield* there.walk(after);
    else if (there !== undefined && (after === undefined || there > after)) yield there;
  }
}

/** Sorted when somebody looks: most sessions are gone again before anybody has. No handle is added twice. */
class Handles {
  readonly #sorted = new SortedBlocks<Handle>(byHandle);
  #fresh: Set<Handle> | undefined;

  get size(): number {
    return this.#sorted.size + (this.#fresh?.size ?? 0);
  }

  add(handle: Handle): void {
    if (this.#fresh === undefined) {
      this.#sorted.add(handle);
      if (this.#sorted.size >= FEW) this.#fresh = new Set();
    } else {
      this.#fresh.add(handle);
      if (this.#fresh.size >= MANY) this.#settle();
    }
  }

  delete(handle: Handle): boolean {
    return this.#fresh?.delete(handle) === true || this.#sorted.delete(handle);
  }

  walk(after: Handle | undefined): Generator<Handle> {
    this.#settle();
    return this.#sorted.walk(after);
  }

  /** In order, so that one lands beside the other. */
  #settle(): void {
    if (this.#fresh === undefined || this.#fresh.size === 0) return;
    for (const handle of [...this.#fresh].sort(byHandle)) this.#sorted.add(handle);
    this.#fresh = new Set();
  }
}

/** So few are kept sorted at once; a set of their own would cost a principal with two sessions more than it saves. */
const FEW = 8;
/** So many are sorted without anybody looking: in a set they take four times the memory. */
const MANY = 1024;

function byHandle(a: Handle, b: Handle): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
