import type { NamePacket } from "../codec/name-service.ts";
import { OPCODE, RCODE } from "../codec/name-service.ts";

export type NameRequestInput =
  | { readonly type: "packet"; readonly packet: NamePacket }
  | { readonly type: "tick" };

export type NameRequestAction =
  | { readonly type: "send"; readonly packet: NamePacket }
  | { readonly type: "answer"; readonly packet: NamePacket }
  /** Ask there instead: the server sent us on (RFC 1002 §4.2.15). */
  | { readonly type: "redirect"; readonly address: string }
  | { readonly type: "no-answer" };

export interface NameRequestOptions {
  readonly packet: NamePacket;
  /** How often it is sent at most. RFC 1002 §6 proposes 3. */
  readonly attempts: number;
  /** How long to wait for an answer each time. RFC 1002 §6 proposes 5 s to a server and 250 ms to everybody. */
  readonly retryMs: number;
}

/** One request and its answer, with retries and with the waits the other side may ask for (RFC 1002 §4.2.16). */
export class NameRequest {
  readonly #options: NameRequestOptions;
  #sent = 0;
  #waits = 0;
  #tickAt: number | undefined;

  constructor(options: NameRequestOptions) {
    this.#options = options;
  }

  /** When to come with `tick`; `undefined` once it is over. */
  get tickAt(): number | undefined {
    return this.#tickAt;
  }

  start(now: number): readonly NameRequestAction[] {
    return this.#send(now);
  }

  handle(input: NameRequestInput, now: number): readonly NameRequestAction[] {
    if (this.#tickAt === undefined) return [];
    if (input.type === "tick") return now >= this.#tickAt ? this.#again(now) : [];
    const { packet } = input;
    if (!packet.response || packet.id !== this.#options.packet.id) return [];
    if (packet.opcode === OPCODE.wack) return this.#wait(packet, now);
    this.#tickAt = undefined;
    const address = redirectOf(packet);
    return address === undefined ? [{ type: "answer", packet }] : [{ type: "redirect", address }];
  }

  #wait(packet: NamePacket, now: number): readonly NameRequestAction[] {
    // A server that asks to wait for ever is a server that does not answer.
    if (++this.#waits > MAX_WAITS) return [];
    const seconds = packet.answers[0]?.ttl ?? 0;
    this.#tickAt = now + Math.min(seconds * 1000, LONGEST_WAIT_MS) + this.#options.retryMs;
    return [];
  }

  #again(now: number): readonly NameRequestAction[] {
    if (this.#sent < this.#options.attempts) return this.#send(now);
    this.#tickAt = undefined;
    return [{ type: "no-answer" }];
  }

  #send(now: number): readonly NameRequestAction[] {
    this.#sent++;
    this.#tickAt = now + this.#options.retryMs;
    return [{ type: "send", packet: this.#options.packet }];
  }
}

/** RFC 1002 §4.2.15: no answer, but a name server in the authority section and its address in the additional one. */
function redirectOf(packet: NamePacket): string | undefined {
  if (packet.opcode !== OPCODE.query || packet.rcode !== RCODE.ok || packet.answers.length > 0)
    return undefined;
  if (packet.authority[0]?.data.kind !== "name-server") return undefined;
  const data = packet.additional[0]?.data;
  return data?.kind === "ip" ? data.address : undefined;
}

const MAX_WAITS = 4;
const LONGEST_WAIT_MS = 30_000;
