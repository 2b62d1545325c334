import type { EndNote, SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";

/** Why the kernel asks a transport to close. */
export type CloseCause =
  | { readonly kind: "ended"; readonly note: EndNote }
  /** The session goes on, on another transport or node; this one may not write any more. */
  | { readonly kind: "taken-over" }
  /** This node can no longer hear of revocations, or was taken for dead: it must not go on serving. */
  | { readonly kind: "feed-lost" };

/** What a mechanism attaches to a session while a connection carries it. */
export interface LiveTransport {
  /** Called at most once. Resolves when the peer can no longer use the connection; rejects with why it could not. */
  close(cause: CloseCause): void | Promise<void>;
}

/** The live transports of this process, by session. */
export class LiveTransports {
  readonly #byHandle = new Map<Handle, Carried>();

  get size(): number {
    return this.#byHandle.size;
  }

  /** Returns how to take it off again, for when the connection ends by itself. */
  attach(record: SessionRecord, transport: LiveTransport): () => void {
    const { handle } = record;
    let carried = this.#byHandle.get(handle);
    if (carried === undefined)
      this.#byHandle.set(handle, (carried = { principal: record.principal, transports: [] }));
    if (!carried.transports.includes(transport)) carried.transports.push(transport);
    return () => this.detach(handle, transport);
  }

  /** Takes it off without closing it. */
  detach(handle: Handle, transport: LiveTransport): void {
    const mine = this.#byHandle.get(handle);
    const at = mine?.transports.indexOf(transport) ?? -1;
    if (mine === undefined || at < 0) return;
    mine.transports.splice(at, 1);
    if (mine.transports.length === 0) this.#byHandle.delete(handle);
  }

  has(handle: Handle): boolean {
    return this.#byHandle.has(handle);
  }

  handles(): Handle[] {
    return [...this.#byHandle.keys()];
  }

  handlesOf(principal: string): Handle[] {
    return this.handles().filter((handle) => this.#byHandle.get(handle)?.principal === principal);
  }

  /** Takes off and closes all transports of a session. Resolves with what could not be closed. */
  async close(handle: Handle, cause: CloseCause): Promise<readonly unknown[]> {
    const carried = this.#byHandle.get(handle);
    if (carried === undefined) return [];
    this.#byHandle.delete(handle);
    const results = await Promise.allSettled(carried.transports.map(async (one) => one.close(cause)));
    return results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
  }
}

interface Carried {
  readonly principal: string | undefined;
  readonly transports: LiveTransport[];
}
