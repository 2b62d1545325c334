import { createSocket } from "node:dgram";
import { randomInt } from "node:crypto";
import type { Clock } from "../../../kernel/index.ts";
import { HoldfastError, systemClock } from "../../../kernel/index.ts";
import { isFault } from "../../../wire/index.ts";
import { WILDCARD } from "../codec/name.ts";
import type { AddressEntry, NamePacket, NodeType, StatusName } from "../codec/name-service.ts";
import {
  decodeNamePacket,
  encodeNamePacket,
  namePacket,
  OPCODE,
  RCODE,
  RR_TYPE,
} from "../codec/name-service.ts";
import type { NameRequestAction } from "../machine/name-request.ts";
import { NameRequest } from "../machine/name-request.ts";
import { requireName } from "../routes.ts";

export interface NameServerAt {
  /** The server, or with `broadcast` the network's broadcast address. */
  readonly host: string;
  /** 137 by default. */
  readonly port?: number;
  /** Ask everybody instead of a server. */
  readonly broadcast?: boolean;
  /** 3 by default. */
  readonly attempts?: number;
  /** 1 s by default, 250 ms with `broadcast`. */
  readonly retryMs?: number;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

export type NameAnswer =
  | { readonly ok: true; readonly entries: readonly AddressEntry[]; readonly ttlMs: number }
  /** `no-such-name`, `taken` and `refused` were said; `failed` is any other error (`rcode`); or nobody answered. */
  | {
      readonly ok: false;
      readonly why: "no-such-name" | "taken" | "refused" | "failed" | "no-answer";
      readonly rcode?: number;
    };

export interface NodeStatus {
  readonly names: readonly StatusName[];
  /** Its hardware address, as a rule. */
  readonly unitId: string;
}

export interface Claim {
  readonly name: string;
  /** IPv4. */
  readonly address: string;
  readonly group?: boolean;
  readonly node?: NodeType;
  /** Left out: as long as the server likes. */
  readonly ttlMs?: number;
}

/** The addresses of a name. @throws HoldfastError `invalid-argument`. */
export async function queryName(name: string, at: NameServerAt): Promise<NameAnswer> {
  const question = { name: requireName(name, "name"), type: RR_TYPE.nb };
  return answerOf(await ask({ opcode: OPCODE.query, recursionDesired: true, questions: [question] }, at));
}

/** The names of the node at an address; `undefined` when it does not answer. */
export async function nodeStatus(at: NameServerAt): Promise<NodeStatus | undefined> {
  const question = { name: WILDCARD, type: RR_TYPE.nbstat };
  const data = (await ask({ opcode: OPCODE.query, questions: [question] }, at))?.answers[0]?.data;
  return data?.kind === "status" ? { names: data.names, unitId: data.unitId } : undefined;
}

/** Claims a name. @throws HoldfastError `invalid-argument`. */
export function registerName(claim: Claim, at: NameServerAt): Promise<NameAnswer> {
  return assert(claim, OPCODE.registration, at);
}

/** Keeps a claimed name for another while. @throws HoldfastError `invalid-argument`. */
export function refreshName(claim: Claim, at: NameServerAt): Promise<NameAnswer> {
  return assert(claim, OPCODE.refresh, at);
}

/** Gives a claimed name back. @throws HoldfastError `invalid-argument`. */
export function releaseName(claim: Claim, at: NameServerAt): Promise<NameAnswer> {
  return assert(claim, OPCODE.release, at);
}

export interface Announcement extends AsyncDisposable {
  /** How each name stands, in the order of the claims. */
  readonly answers: readonly NameAnswer[];
  /** Stops refreshing and gives the names back. */
  close(): Promise<void>;
}

/** Registers names and keeps them until closed: each is refreshed at half its time (RFC 1002 §5.1.2.2). */
export async function announceNames(claims: readonly Claim[], at: NameServerAt): Promise<Announcement> {
  const clock = at.clock ?? systemClock;
  const answers: NameAnswer[] = await Promise.all(claims.map((claim) => registerName(claim, at)));
  const timers = new Map<number, () => void>();
  const stopped = new AbortController();
  const keep = (index: number, claim: Claim): void => {
    const answer = answers[index];
    // What was refused is asked for again as well: whoever has it may go.
    const afterMs = answer?.ok === true ? Math.max(answer.ttlMs / 2, 1000) : RETRY_CLAIM_MS;
    const cancel = clock.after(afterMs, () => {
      const held = answers[index]?.ok === true;
      const renewed = held ? refreshName(claim, at) : registerName(claim, at);
      void renewed.then((next) => {
        answers[index] = next;
        if (!stopped.signal.aborted) keep(index, claim);
      });
    });
    timers.set(index, cancel);
  };
  for (const [index, claim] of claims.entries()) keep(index, claim);
  const close = async (): Promise<void> => {
    if (stopped.signal.aborted) return;
    stopped.abort();
    for (const cancel of timers.values()) cancel();
    const held = claims.filter((_, index) => answers[index]?.ok === true);
    await Promise.all(held.map((claim) => releaseName(claim, at)));
  };
  return { answers, close, [Symbol.asyncDispose]: close };
}

const RETRY_CLAIM_MS = 60_000;

async function assert(claim: Claim, opcode: number, at: NameServerAt): Promise<NameAnswer> {
  const name = requireName(claim.name, "name");
  const entry = {
    group: claim.group ?? false,
    node: claim.node ?? "H",
    address: requireAddress(claim.address),
  };
  const ttl = Math.ceil((claim.ttlMs ?? 0) / 1000);
  const answer = await ask(
    {
      opcode,
      recursionDesired: opcode === OPCODE.registration,
      questions: [{ name, type: RR_TYPE.nb }],
      additional: [{ name, type: RR_TYPE.nb, ttl, data: { kind: "addresses", entries: [entry] } }],
    },
    at,
  );
  return answerOf(answer);
}

function answerOf(packet: NamePacket | undefined): NameAnswer {
  if (packet === undefined) return { ok: false, why: "no-answer" };
  const { rcode } = packet;
  if (rcode !== RCODE.ok) return { ok: false, why: WHY.get(rcode) ?? "failed", rcode };
  const record = packet.answers[0];
  const entries = record?.data.kind === "addresses" ? record.data.entries : [];
  return { ok: true, entries, ttlMs: (record?.ttl ?? 0) * 1000 };
}

const WHY: ReadonlyMap<number, "no-such-name" | "taken" | "refused"> = new Map([
  [RCODE.name, "no-such-name"],
  [RCODE.active, "taken"],
  [RCODE.conflict, "taken"],
  [RCODE.refused, "refused"],
] as const);

type Draft = Pick<NamePacket, "opcode" | "questions"> & Partial<NamePacket>;

/** Asks, and follows at most three redirects. `undefined`: no answer. */
async function ask(draft: Draft, at: NameServerAt): Promise<NamePacket | undefined> {
  let host = at.host;
  for (let hop = 0; hop < 4; hop++) {
    const packet = namePacket({ ...draft, id: randomInt(0x10000), broadcast: at.broadcast ?? false });
    const answer = await new Exchange(packet, { ...at, host }).answer;
    if (answer === undefined || typeof answer !== "string") return answer;
    host = answer;
  }
  return undefined;
}

/** One request over a socket of its own. */
class Exchange {
  /** The answer, where to ask instead, or `undefined`. */
  readonly answer: Promise<NamePacket | string | undefined>;
  readonly #at: NameServerAt;
  readonly #clock: Clock;
  readonly #request: NameRequest;
  readonly #socket = createSocket("udp4");
  #resolve: (answer: NamePacket | string | undefined) => void = () => {};
  #cancelTick: () => void = () => {};

  constructor(packet: NamePacket, at: NameServerAt) {
    this.#at = at;
    this.#clock = at.clock ?? systemClock;
    const retryMs = at.retryMs ?? (at.broadcast === true ? 250 : 1000);
    this.#request = new NameRequest({ packet, attempts: at.attempts ?? 3, retryMs });
    this.answer = new Promise((resolve) => (this.#resolve = resolve));
    this.#socket.on("error", () => this.#finish(undefined));
    this.#socket.on("message", (bytes, from) => this.#received(bytes, from.address));
    at.signal?.addEventListener("abort", this.#aborted, { once: true });
    this.#socket.bind(0, () => {
      if (at.broadcast === true) this.#socket.setBroadcast(true);
      this.#do(this.#request.start(this.#clock.now()));
    });
  }

  readonly #aborted = (): void => this.#finish(undefined);

  #received(bytes: Buffer, from: string): void {
    // A stranger who guesses the id still has the wrong address. Names of hosts are looked up by the system.
    if (this.#at.broadcast !== true && /^[\d.]+$/u.test(this.#at.host) && from !== this.#at.host) return;
    const packet = decodeNamePacket(bytes);
    if (!isFault(packet)) this.#do(this.#request.handle({ type: "packet", packet }, this.#clock.now()));
  }

  #do(actions: readonly NameRequestAction[]): void {
    for (const action of actions) {
      // What does not get out is sent again, or there is no answer.
      if (action.type === "send") {
        this.#socket.send(encodeNamePacket(action.packet), this.#at.port ?? 137, this.#at.host, () => {});
      } else if (action.type === "answer") this.#finish(action.packet);
      else if (action.type === "redirect") this.#finish(action.address);
      else this.#finish(undefined);
    }
    this.#cancelTick();
    const at = this.#request.tickAt;
    if (at === undefined) return;
    this.#cancelTick = this.#clock.after(Math.max(at - this.#clock.now(), 1), () =>
      this.#do(this.#request.handle({ type: "tick" }, this.#clock.now())),
    );
  }

  #finish(answer: NamePacket | string | undefined): void {
    this.#cancelTick();
    this.#at.signal?.removeEventListener("abort", this.#aborted);
    if (this.#resolve === DONE) return;
    this.#resolve(answer);
    this.#resolve = DONE;
    this.#socket.close();
  }
}

const DONE = (): void => {};

function requireAddress(address: string): string {
  if (/^\d{1,3}(\.\d{1,3}){3}$/u.test(address) && address.split(".").every((part) => Number(part) < 256))
    return address;
  throw new HoldfastError("invalid-argument", "A NetBIOS name leads to an IPv4 address.", {
    detail: { address },
  });
}
