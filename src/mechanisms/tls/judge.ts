import type { Handle } from "../../kernel/index.ts";
import { isHoldfastError, parseHandle } from "../../kernel/index.ts";
import type { SessionCache } from "./cache.ts";
import type { Chains, Place } from "./chains.ts";
import type { ClientHello } from "./codec/client-hello.ts";
import { isAuthentic, openTag, ticketParts } from "./codec/ticket.ts";
import type { Verdict } from "./connection.ts";
import type { Keyring } from "./keyring.ts";
import type { Counters, FullReason } from "./metrics.ts";
import type { Settings, TlsMode } from "./options.ts";

/** What is known of the server that a client speaks to. */
export interface Asked {
  readonly mode: TlsMode;
  readonly domain: string;
  readonly place: Place;
  /** True once the server was seen to speak TLS 1.3: session IDs of clients that offer it mean nothing then. */
  readonly speaksTls13: boolean;
}

/** Decides, from a client's first message, what it may resume. */
export class Judge {
  readonly #settings: Settings;
  readonly #keyring: Keyring;
  readonly #cache: SessionCache;
  readonly #chains: Chains;
  readonly #counters: Counters;

  constructor(
    settings: Settings,
    parts: { keyring: Keyring; cache: SessionCache; chains: Chains; counters: Counters },
  ) {
    this.#settings = settings;
    this.#keyring = parts.keyring;
    this.#cache = parts.cache;
    this.#chains = parts.chains;
    this.#counters = parts.counters;
  }

  async verdict(hello: ClientHello, asked: Asked): Promise<Verdict> {
    try {
      return await this.#verdict(hello, asked);
    } catch (error) {
      this.#settings.onFault(error);
      if (isHoldfastError(error)) return no("store-unavailable");
      // A hook that throws has not said yes.
      return no("client-certificate");
    }
  }

  #verdict(hello: ClientHello, asked: Asked): Verdict | Promise<Verdict> {
    const [identity] = hello.identities;
    if (asked.mode !== "cache") {
      const ticket = identity ?? hello.ticket;
      if (ticket !== undefined && ticket.length > 0) return this.#ofTicket(ticket, asked);
      if (asked.mode === "ticket") return no("not-offered");
    } else if (identity !== undefined) return this.#ofIdentity(identity, hello, asked);
    const isReal = hello.sessionId.length > 0 && !(hello.offersTls13 && asked.speaksTls13);
    return isReal ? this.#ofId(hello.sessionId, asked, false) : no("not-offered");
  }

  async #ofTicket(ticket: Buffer, asked: Asked): Promise<Verdict> {
    const now = this.#settings.kernel.clock.now();
    const parts = ticketParts(ticket);
    if (parts === undefined) return no("unknown-key");
    const match = this.#keyring.accepted(parts.name, asked.domain, now);
    if (match === undefined)
      return no(this.#keyring.wasAccepted(parts.name, asked.domain, now) ? "old-key" : "unknown-key");
    const { keys, skew } = match;
    // OpenSSL holds the MAC against the ticket before it uses it, and is better at it. Here it is done before anything is
    // written or waited for on the word of a ticket.
    if (this.#settings.singleUse && !isAuthentic(ticket, keys)) return no("tampered");
    this.#counters.countEpoch(skew);
    const tag = openTag(parts.iv, keys, now);
    const handle = parseHandle(tag.handle);
    if (handle === undefined) return no("tampered");
    const isWorthWaiting = (): boolean => isAuthentic(ticket, keys);
    const startedAt = tag.startedHour * HOUR_MS;
    const judged = await this.#chains.judge(handle, startedAt, asked.place, isWorthWaiting);
    if (!judged.good) return no(isAuthentic(ticket, keys) ? judged.why : "tampered");
    if (this.#settings.singleUse) {
      const use = await this.#cache.use(parts.mac);
      if (use !== "first") return no(use === "used" ? "replayed" : "cache-full");
    }
    const { record } = judged;
    const home: Handle = record?.handle ?? handle;
    return {
      resume: "ticket",
      handle: home,
      record,
      startedHour: tag.startedHour,
      keys,
      ticket,
      iv: parts.iv.toString("latin1"),
    };
  }

  /** TLS 1.3 with the session in the store: the identity is its name, of 32 bytes as OpenSSL makes them. */
  #ofIdentity(identity: Buffer, hello: ClientHello, asked: Asked): Verdict | Promise<Verdict> {
    if (identity.length !== ID_BYTES) return no("unknown-id");
    // Node asks for a session by the legacy session ID, and not at all when there is none.
    if (hello.sessionId.length === 0) return no("no-legacy-id");
    return this.#ofId(identity, asked, true);
  }

  async #ofId(id: Buffer, asked: Asked, take: boolean): Promise<Verdict> {
    const found = await this.#cache.find(id, asked.domain, take);
    if (typeof found === "string") return no(found);
    const judged = await this.#chains.judge(found.handle, -Infinity, asked.place, () => true);
    if (!judged.good) return no(judged.why);
    return { resume: "id", handle: found.handle, record: judged.record, state: found.state };
  }
}

function no(why: FullReason): Verdict {
  return { resume: undefined, why };
}

const ID_BYTES = 32;
const HOUR_MS = 3_600_000;
