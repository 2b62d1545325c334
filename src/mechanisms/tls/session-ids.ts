import type { TLSSocket } from "node:tls";
import type { Handle } from "../../kernel/index.ts";
import type { SessionCache } from "./cache.ts";
import type { Chains } from "./chains.ts";
import { decodeSessionState } from "./codec/session-state.ts";
import type { Connection } from "./connection.ts";
import { UNREAD } from "./connection.ts";
import type { TlsMode } from "./options.ts";
import type { Stage } from "./stage.ts";

export interface IdSurroundings {
  readonly chains: Chains;
  readonly cache: SessionCache;
  readonly stage: Stage;
  /** Counts of TLS 1.2 handshakes under way, by trust domain. */
  readonly handshakes: ReadonlyMap<string, number>;
  readonly mode: TlsMode;
  readonly inBackground: (work: Promise<unknown>) => void;
}

/** What a server does with Node's `newSession` and `resumeSession`: sessions that the store keeps, known by a name. */
export class SessionIds {
  readonly #around: IdSurroundings;
  /** Sessions that may be resumed by handshakes under way, by the session ID in the client's first message. */
  readonly #states = new Map<string, { readonly state: Buffer; count: number }>();
  /** Handles of TLS 1.2 sessions in the store whose handshake is not done yet, by session ID. */
  readonly #named = new Map<string, Handle>();
  /** The session of the TLS 1.2 handshake whose `secureConnection` is the very next. */
  #unclaimed: { id: Buffer; state: Buffer } | undefined;

  constructor(around: IdSurroundings) {
    this.#around = around;
  }

  /** Until `disapprove`. */
  approve(id: string, state: Buffer): void {
    const count = this.#states.get(id)?.count ?? 0;
    this.#states.set(id, { state, count: count + 1 });
  }

  disapprove(id: string): void {
    const waiting = this.#states.get(id);
    if (waiting !== undefined && --waiting.count === 0) this.#states.delete(id);
  }

  readonly newSession = (id: Buffer, state: Buffer, done: () => void): void => {
    const version = decodeSessionState(state)?.version;
    if (version !== TLS_1_3) return this.#newTls12(id, state, done);
    const { stage, cache, mode } = this.#around;
    const connection = stage.issuing?.connection;
    const handle = connection?.handle;
    if (mode !== "cache" || connection === undefined || connection.ticketsLeft <= 0) return done();
    connection.ticketsLeft--;
    if (handle === undefined || !connection.resumable) return done();
    // It is in the store before the client hears of it.
    this.#around.inBackground(cache.put(id, connection.domain, { handle, state }).finally(done));
  };

  readonly resumeSession = (id: Buffer, answer: (error: Error | null, state: Buffer | null) => void): void =>
    answer(null, this.#states.get(id.toString("latin1"))?.state ?? null);

  /** The handle under which a TLS 1.2 session has gone into the store already. */
  claim(socket: TLSSocket): Handle | undefined {
    if (this.#named.size === 0) return undefined;
    const own = idOf(socket)?.toString("latin1");
    const handle = own === undefined ? undefined : this.#named.get(own);
    if (own !== undefined) this.#named.delete(own);
    return handle;
  }

  /** Puts a TLS 1.2 session of which it was not told before whose it is, or takes away one that must not be resumed. */
  settle(socket: TLSSocket, connection: Connection, handle: Handle): void {
    const { cache, inBackground } = this.#around;
    const unclaimed = this.#unclaimed;
    this.#unclaimed = undefined;
    if (!connection.resumable) return inBackground(cache.forget(handle));
    if (unclaimed === undefined || idOf(socket)?.equals(unclaimed.id) !== true) return;
    inBackground(cache.put(unclaimed.id, connection.domain, { handle, state: unclaimed.state }));
  }

  /**
   * RFC 5246 §F.1.4. As with tickets, whose it is shows in the next `secureConnection`; but where only one trust domain can
   * be meant it is in the store before the client hears of it.
   */
  #newTls12(id: Buffer, state: Buffer, done: () => void): void {
    const { cache, chains, handshakes, inBackground } = this.#around;
    const [domain, another] = handshakes.keys();
    this.#unclaimed = undefined;
    if (id.length === 0) return done();
    if (domain === undefined || domain === UNREAD || another !== undefined) {
      this.#unclaimed = { id, state };
      return done();
    }
    const handle = chains.mint();
    this.#named.set(id.toString("latin1"), handle);
    for (const [oldest] of this.#named) {
      if (this.#named.size <= NAMED_KEPT) break;
      this.#named.delete(oldest);
    }
    inBackground(cache.put(id, domain, { handle, state }).finally(done));
  }
}

function idOf(socket: TLSSocket): Buffer | undefined {
  const own = socket.getSession();
  return own === undefined ? undefined : decodeSessionState(own)?.sessionId;
}

const TLS_1_3 = 0x0304;
/** Handshakes that fail after that leave one behind. */
const NAMED_KEPT = 1_000;
