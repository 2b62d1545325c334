import type { EndNote } from "./record.ts";
import type { Handle } from "./secret.ts";

/** Why the kernel asks a transport to close. */
export type CloseCause =
  | { readonly kind: "ended"; readonly note: EndNote }
  /** The session goes on, on another transport or node; this one may not write any more. */
  | { readonly kind: "taken-over" }
  /** This node can no longer hear of revocations, so it must not go on serving. */
  | { readonly kind: "feed-lost" };

/** What a mechanism attaches to a session while a connection carries it. */
export interface LiveTransport {
  /** Called at most once. Resolves when the peer can no longer use the connection; rejects with why it could not. */
  close(cause: CloseCause): void | Promise<void>;
}

/** The live transports of this process, by session. */
export class LiveTransports {
  readonly #byHandle = new Map<Handle, Set<LiveTransport>>();

  get size(): number {
    return this.#byHandle.size;
  }

  /** Returns how to take it off again, for when the connection ends by itself. */
  attach(handle: Handle, transport: LiveTransport): () => void {
    let set = this.#byHandle.get(handle);
    if (set === undefined) this.#byHandle.set(handle, (set = new Set()));
    set.add(transport);
    return () => {
      const mine = this.#byHandle.get(handle);
      if (mine?.delete(transport) === true && mine.size === 0) this.#byHandle.delete(handle);
    };
  }

  has(handle: Handle): boolean {
    return this.#byHandle.has(handle);
  }

  handles(): Handle[] {
    return [...this.#byHandle.keys()];
  }

  /** Takes off and closes all transports of a session. Resolves with what could not be closed. */
  async close(handle: Handle, cause: CloseCause): Promise<readonly unknown[]> {
    const transports = this.#byHandle.get(handle);
    if (transports === undefined) return [];
    this.#byHandle.delete(handle);
    const results = await Promise.allSettled([...transports].map(async (one) => one.close(cause)));
    return results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
  }
}
