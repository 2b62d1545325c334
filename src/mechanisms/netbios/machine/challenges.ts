import { nameKey } from "../codec/name.ts";
import type { NamePacket } from "../codec/name-service.ts";
import { namePacket, OPCODE, RR_TYPE } from "../codec/name-service.ts";
import type { NameServerAction, Peer, Request } from "./name-server.ts";

/** What to do once it is known whether `owner` still has the name: its answer, or none after three questions. */
type Outcome<A extends readonly unknown[]> = (
  request: Request,
  owner: string,
  ...answer: A
) => readonly NameServerAction[];

/** Registrations that wait for the present owner of their name to answer (RFC 1002 §5.1.4.1). */
export class Challenges {
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;

  get nextAt(): number | undefined {
    let at: number | undefined;
    for (const { askAt } of this.#pending.values()) at = Math.min(at ?? Infinity, askAt);
    return at;
  }

  /** Asks the newcomer to wait and the owner whether it is still there. A repeated request is told to wait again. */
  begin(request: Request, owner: string, now: number): readonly NameServerAction[] {
    for (const { request: other } of this.#pending.values()) {
      if (nameKey(other.name) === nameKey(request.name)) return [wait(request)];
    }
    // Over the bound nobody is asked and nothing is promised: the newcomer asks again by itself.
    if (this.#pending.size >= MAX_PENDING) return [];
    const id = this.#freeId();
    const pending = {
      request,
      owner: { address: owner, port: NAME_SERVICE_PORT },
      asked: 1,
      askAt: now + ASK_AGAIN_MS,
    };
    this.#pending.set(id, pending);
    return [wait(request), ask(id, pending)];
  }

  answered(packet: NamePacket, from: Peer, decide: Outcome<[NamePacket]>): readonly NameServerAction[] {
    const pending = this.#pending.get(packet.id);
    const ofOwner = pending !== undefined && pending.owner.address === from.address;
    if (!ofOwner || packet.opcode !== OPCODE.query) return [];
    this.#pending.delete(packet.id);
    return decide(pending.request, pending.owner.address, packet);
  }

  tick(now: number, decide: Outcome<[]>): readonly NameServerAction[] {
    const actions: NameServerAction[] = [];
    for (const [id, pending] of this.#pending) {
      if (pending.askAt > now) continue;
      if (pending.asked < ASK_TIMES) {
        const again = { ...pending, asked: pending.asked + 1, askAt: now + ASK_AGAIN_MS };
        this.#pending.set(id, again);
        actions.push(ask(id, again));
      } else {
        this.#pending.delete(id);
        actions.push(...decide(pending.request, pending.owner.address));
      }
    }
    return actions;
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) & 0xffff;
    while (this.#pending.has(this.#nextId));
    return this.#nextId;
  }
}

interface Pending {
  readonly request: Request;
  readonly owner: Peer;
  readonly asked: number;
  readonly askAt: number;
}

const NAME_SERVICE_PORT = 137;
const ASK_TIMES = 3;
const ASK_AGAIN_MS = 500;
const MAX_PENDING = 256;
/** How long the newcomer is asked to wait, in seconds: longer than we ask. */
const WAIT_SECONDS = 5;

/** RFC 1002 §4.2.16: the data is the header word of the request. */
function wait({ packet, from, name }: Request): NameServerAction {
  const word = (packet.opcode << 11) | (packet.recursionDesired ? 0x0100 : 0);
  const bytes = Buffer.from([word >> 8, word & 0xff]);
  const answers = [{ name, type: RR_TYPE.nb, ttl: WAIT_SECONDS, data: { kind: "bytes", bytes } as const }];
  const wack = namePacket({
    id: packet.id,
    opcode: OPCODE.wack,
    response: true,
    authoritative: true,
    answers,
  });
  return { type: "send", packet: wack, to: from };
}

function ask(id: number, { request, owner }: Pending): NameServerAction {
  const packet = namePacket({
    id,
    opcode: OPCODE.query,
    questions: [{ name: request.name, type: RR_TYPE.nb }],
  });
  return { type: "send", packet, to: owner };
}
