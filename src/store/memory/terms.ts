import type { Handle } from "../../kernel/secret.ts";
import { SortedBlocks } from "./sorted-blocks.ts";

/** Ordered sets of handles by index term. Most terms of a million principals hold one handle: those cost no set. */
export class Terms {
  readonly #sets = new Map<string, Handle | SortedBlocks<Handle>>();

  add(term: string, handle: Handle): void {
    const there = this.#sets.get(term);
    if (there === undefined || there === handle) {
      this.#sets.set(term, handle);
    } else if (typeof there === "string") {
      const set = new SortedBlocks<Handle>(byHandle);
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

function byHandle(a: Handle, b: Handle): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
