import type { Fault } from "../../../wire/index.ts";
import { fault, Inbox, isFault } from "../../../wire/index.ts";
import type { NetbiosName } from "../codec/name.ts";
import type { LengthBits } from "../codec/session.ts";
import { decodeSessionPacket, encodeSessionPacket } from "../codec/session.ts";

export type CallerInput =
  /** The connection stands. */
  | { readonly type: "connected" }
  | { readonly type: "bytes"; readonly bytes: Buffer }
  | { readonly type: "end" }
  | { readonly type: "timeout" };

export type CallerAction =
  | { readonly type: "send"; readonly bytes: Buffer }
  /** `early` came behind the answer and is the session's first data. */
  | { readonly type: "open"; readonly early: Buffer }
  /** In every other case: close the connection. */
  | { readonly type: "refused"; readonly code: number }
  /** Call the same name again over a new connection to this address (RFC 1002 §4.3.5). */
  | { readonly type: "retarget"; readonly address: string; readonly port: number }
  | { readonly type: "failed"; readonly why: "timeout" | "protocol-error" | "gone"; readonly fault?: Fault };

export interface CallerOptions {
  readonly called: NetbiosName;
  readonly calling: NetbiosName;
  readonly bits: LengthBits;
  /** From the beginning to the answer. */
  readonly handshakeMs: number;
  readonly now: number;
}

/** The calling side of one connection, from the request to the answer (RFC 1002 §5.3.1). */
export class Caller {
  readonly deadlineAt: number;
  readonly #options: CallerOptions;
  readonly #inbox = new Inbox();
  #state: "connecting" | "calling" | "over" = "connecting";

  constructor(options: CallerOptions) {
    this.#options = options;
    this.deadlineAt = options.now + options.handshakeMs;
  }

  get over(): boolean {
    return this.#state === "over";
  }

  handle(input: CallerInput, now: number): readonly CallerAction[] {
    if (this.#state === "over") return [];
    switch (input.type) {
      case "connected": {
        const { called, calling } = this.#options;
        if (this.#state === "calling") return [];
        this.#state = "calling";
        return [{ type: "send", bytes: encodeSessionPacket({ type: "session-request", called, calling }) }];
      }
      case "bytes":
        this.#inbox.append(input.bytes);
        return this.#read();
      case "end":
        return this.#fail("gone");
      case "timeout":
        return now >= this.deadlineAt ? this.#fail("timeout") : [];
    }
  }

  #read(): readonly CallerAction[] {
    for (;;) {
      const packet = this.#inbox.take((bytes) => decodeSessionPacket(bytes, this.#options.bits, 0));
      if (packet === undefined) return [];
      if (isFault(packet)) return this.#fail("protocol-error", packet);
      if (packet.type === "keepalive") continue;
      this.#state = "over";
      if (packet.type === "positive-response") return [{ type: "open", early: this.#inbox.drain() }];
      if (packet.type === "negative-response") return [{ type: "refused", code: packet.code }];
      if (packet.type === "retarget-response") {
        return [{ type: "retarget", address: packet.address, port: packet.port }];
      }
      return this.#fail(
        "protocol-error",
        fault("misbehaved", 0, `a ${packet.type} in answer to a session request`),
      );
    }
  }

  #fail(why: "timeout" | "protocol-error" | "gone", found?: Fault): readonly CallerAction[] {
    this.#state = "over";
    return [{ type: "failed", why, ...(found !== undefined && { fault: found }) }];
  }
}
