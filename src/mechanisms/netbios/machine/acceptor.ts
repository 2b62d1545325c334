import type { Fault } from "../../../wire/index.ts";
import { fault, Inbox, isFault } from "../../../wire/index.ts";
import type { NetbiosName } from "../codec/name.ts";
import type { LengthBits } from "../codec/session.ts";
import { decodeSessionPacket, encodeSessionPacket, NEGATIVE, PACKET_TYPE } from "../codec/session.ts";

export type AcceptorInput =
  | { readonly type: "bytes"; readonly bytes: Buffer }
  /** The peer has closed its side. */
  | { readonly type: "end" }
  /** `deadlineAt` has come. */
  | { readonly type: "timeout" }
  /** Answers to `requested`. */
  | { readonly type: "accept" }
  | { readonly type: "refuse"; readonly code: number }
  | { readonly type: "retarget"; readonly address: string; readonly port: number };

export type AcceptorAction =
  | { readonly type: "send"; readonly bytes: Buffer }
  /** Decide on this with `accept`, `refuse` or `retarget`; read no more from the peer until then. */
  | { readonly type: "requested"; readonly called: NetbiosName; readonly calling: NetbiosName }
  /** The session is open; `early` came behind the request and is its first data. */
  | { readonly type: "open"; readonly early: Buffer }
  /** Close the connection once what was sent is out. */
  | { readonly type: "close"; readonly why: AcceptorEnd; readonly fault?: Fault };

export type AcceptorEnd = "refused" | "retargeted" | "timeout" | "protocol-error" | "gone";

export interface AcceptorOptions {
  readonly bits: LengthBits;
  /** From the connection to its request. */
  readonly handshakeMs: number;
  readonly now: number;
}

/**
 * The called side of a session, from the connection to the answer (RFC 1002 §5.3.2).
 *
 *     waiting ──request──► deciding ──accept──► open
 *        │                    └─refuse, retarget─► closed
 *        └─ a message, a fault, the deadline ─────► closed
 */
export class Acceptor {
  readonly #bits: LengthBits;
  readonly #inbox = new Inbox();
  #state: "waiting" | "deciding" | "open" | "closed" = "waiting";
  #deadlineAt: number | undefined;
  #keepalives = 0;

  constructor(options: AcceptorOptions) {
    this.#bits = options.bits;
    this.#deadlineAt = options.now + options.handshakeMs;
  }

  get state(): "waiting" | "deciding" | "open" | "closed" {
    return this.#state;
  }

  /** When to come with `timeout`; `undefined` once the request is there: deciding has limits of its own. */
  get deadlineAt(): number | undefined {
    return this.#deadlineAt;
  }

  handle(input: AcceptorInput, now: number): readonly AcceptorAction[] {
    if (this.#state === "closed" || this.#state === "open") return [];
    switch (input.type) {
      case "bytes":
        this.#inbox.append(input.bytes);
        return this.#state === "waiting" ? this.#read() : this.#hold();
      case "end":
        return this.#close("gone");
      case "timeout":
        return now >= (this.#deadlineAt ?? Infinity) ? this.#close("timeout") : [];
      default:
        return this.#state === "deciding" ? this.#answer(input) : [];
    }
  }

  #read(): readonly AcceptorAction[] {
    for (;;) {
      const packet = this.#inbox.take((bytes) => decodeSessionPacket(bytes, this.#bits, 0));
      if (packet === undefined) {
        // A message of any size has no place here; its type is enough to know.
        return this.#inbox.peek()[0] === PACKET_TYPE.message ? this.#misbehaved("message") : [];
      }
      if (isFault(packet)) return this.#faulty(packet);
      if (packet.type === "session-request") {
        this.#state = "deciding";
        this.#deadlineAt = undefined;
        return [{ type: "requested", called: packet.called, calling: packet.calling }];
      }
      if (packet.type !== "keepalive") return this.#misbehaved(packet.type);
      // RFC 1002 §4.3.7: keepalives may come at any time. Nobody needs many before there is anything to keep alive.
      if (++this.#keepalives > MAX_EARLY_KEEPALIVES) return this.#misbehaved("flood of keepalives");
    }
  }

  /** Data may come behind the request before the answer to it; the reader is asked to stop, so it is little. */
  #hold(): readonly AcceptorAction[] {
    if (this.#inbox.size <= MAX_EARLY_BYTES) return [];
    return this.#close("protocol-error", fault("too-large", 0, "too much data before the session is open"));
  }

  #answer(
    input: Extract<AcceptorInput, { type: "accept" | "refuse" | "retarget" }>,
  ): readonly AcceptorAction[] {
    if (input.type === "accept") {
      this.#state = "open";
      const bytes = encodeSessionPacket({ type: "positive-response" });
      return [
        { type: "send", bytes },
        { type: "open", early: this.#inbox.drain() },
      ];
    }
    const why = input.type === "refuse" ? "refused" : "retargeted";
    const bytes =
      input.type === "refuse"
        ? encodeSessionPacket({ type: "negative-response", code: input.code })
        : encodeSessionPacket({ type: "retarget-response", address: input.address, port: input.port });
    return [{ type: "send", bytes }, ...this.#close(why)];
  }

  #misbehaved(what: string): readonly AcceptorAction[] {
    return this.#close("protocol-error", fault("misbehaved", 0, `a ${what} before a session request`));
  }

  /** A request that cannot be read is still answered (0x8F); what is no request gets no answer. */
  #faulty(found: Fault): readonly AcceptorAction[] {
    const first = this.#inbox.peek()[0];
    if (first === PACKET_TYPE.message) return this.#misbehaved("message");
    const close = this.#close("protocol-error", found);
    if (first !== PACKET_TYPE.request) return close;
    const bytes = encodeSessionPacket({ type: "negative-response", code: NEGATIVE.unspecified });
    return [{ type: "send", bytes }, ...close];
  }

  #close(why: AcceptorEnd, found?: Fault): readonly AcceptorAction[] {
    this.#state = "closed";
    this.#deadlineAt = undefined;
    return [{ type: "close", why, ...(found !== undefined && { fault: found }) }];
  }
}

const MAX_EARLY_KEEPALIVES = 64;
/** One read of the socket may still be under way when it is paused. */
const MAX_EARLY_BYTES = 256 * 1024;
