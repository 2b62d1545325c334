import type { NetbiosName } from "../codec/name.ts";
import { nameKey } from "../codec/name.ts";
import type { NamePacket, ResourceRecord, StatusName } from "../codec/name-service.ts";
import { namePacket, OPCODE, RCODE, RR_TYPE } from "../codec/name-service.ts";
import type { Owned, OwnedEntry } from "./name-table.ts";
import { NameTable } from "./name-table.ts";
import { Challenges } from "./challenges.ts";
import { Buckets } from "./buckets.ts";

export interface Peer {
  readonly address: string;
  readonly port: number;
}

/** A name this node answers for itself. */
export interface OwnName {
  readonly name: NetbiosName;
  readonly group: boolean;
  readonly addresses: readonly string[];
}

export interface NameServerOptions {
  readonly own: readonly OwnName[];
  /** Whether hosts may register names of theirs; `none` refuses them all (RFS_ERR). */
  readonly register: "none" | "own-address" | "any-address";
  readonly maxNames: number;
  readonly maxNamesPerAddress: number;
  /** Longest time a registration is kept without a refresh, in ms. */
  readonly ttlMs: number;
  /** Requests of one address a second, with as many again at once. */
  readonly requestsPerSecond: number;
  /** The unit's id in node status answers, as six pairs of hex digits. */
  readonly unitId: string;
}

export type NameServerInput =
  | { readonly type: "packet"; readonly packet: NamePacket; readonly from: Peer }
  | { readonly type: "tick" };

export type NameServerAction =
  | { readonly type: "send"; readonly packet: NamePacket; readonly to: Peer }
  /** For the log: what was decided about a name. */
  | { readonly type: "note"; readonly what: NameEvent; readonly name: NetbiosName; readonly from: Peer };

export type NameEvent =
  | "unknown"
  | "registered"
  | "refused"
  | "refreshed"
  | "released"
  | "defended"
  | "limited";

/**
 * A name server (RFC 1002 §5.1.4) that also answers for names of its own as an end node does (§5.1.1): queries, node
 * status, registration with challenge of the present owner, refresh, release.
 */
export class NameServer {
  readonly #options: NameServerOptions;
  readonly #own: ReadonlyMap<string, Owned>;
  readonly #table: NameTable;
  readonly #challenges = new Challenges();
  readonly #buckets: Buckets;

  constructor(options: NameServerOptions) {
    this.#options = options;
    this.#own = new Map(options.own.map((one) => [nameKey(one.name), ownedBy(one)]));
    this.#table = new NameTable({ names: options.maxNames, perAddress: options.maxNamesPerAddress });
    this.#buckets = new Buckets(options.requestsPerSecond);
  }

  /** Names registered by others. */
  get registered(): NameTable {
    return this.#table;
  }

  /** When to come with `tick`; `undefined` when nothing is under way. */
  get tickAt(): number | undefined {
    return this.#challenges.nextAt;
  }

  handle(input: NameServerInput, now: number): readonly NameServerAction[] {
    if (input.type === "tick") {
      this.#table.sweep(now);
      return this.#challenges.tick(now, (request, owner) => this.#challenged(request, owner, undefined, now));
    }
    const { packet, from } = input;
    if (packet.response) {
      return this.#challenges.answered(packet, from, (request, owner, answer) =>
        this.#challenged(request, owner, answer, now),
      );
    }
    const question = packet.questions[0];
    // RFC 1002 §4.2: each request has one question. Anything else is not answered, to no one's gain.
    if (question === undefined || packet.questions.length !== 1) return [];
    if (!this.#buckets.take(from.address, now))
      return [{ type: "note", what: "limited", name: question.name, from }];
    const request: Request = { packet, from, name: question.name };
    switch (packet.opcode) {
      case OPCODE.query:
        return question.type === RR_TYPE.nbstat
          ? this.#status(request)
          : this.#query(request, question.type, now);
      case OPCODE.registration:
      case OPCODE.multihomed:
        return this.#register(request, now);
      case OPCODE.refresh:
      case OPCODE.refreshAlt:
        return this.#refresh(request, now);
      case OPCODE.release:
        return this.#release(request, now);
      default:
        return [];
    }
  }

  /** RFC 1002 §4.2.12–14. A query to everybody is answered by the owner alone, and never with a no. */
  #query(request: Request, type: number, now: number): readonly NameServerAction[] {
    const { packet, name, from } = request;
    const own = this.#own.get(nameKey(name));
    const owned = own ?? (packet.broadcast ? undefined : this.#table.find(name, now));
    if (type !== RR_TYPE.nb) return packet.broadcast ? [] : [this.#reply(request, RCODE.unsupported)];
    if (owned === undefined) {
      const note: NameServerAction = { type: "note", what: "unknown", name, from };
      if (packet.broadcast) return [note];
      const data = { kind: "bytes", bytes: Buffer.alloc(0) } as const;
      return [this.#reply(request, RCODE.name, { name, type: RR_TYPE.null, ttl: 0, data }), note];
    }
    const until = Math.min(...owned.entries.map((entry) => entry.until ?? Infinity));
    const ttlMs = until === Infinity ? this.#options.ttlMs : until - now;
    return [this.#reply(request, RCODE.ok, addressRecord(owned, ttlMs))];
  }

  /** RFC 1002 §4.2.17–18: our own names, to who asks for one of them or for `*`. */
  #status(request: Request): readonly NameServerAction[] {
    const { name } = request;
    if (name.name !== "*" && !this.#own.has(nameKey(name))) return [];
    const names: StatusName[] = [...this.#own.values()].slice(0, MAX_STATUS_NAMES).map((owned) => ({
      name: owned.name.name,
      suffix: owned.name.suffix,
      group: owned.group,
      node: "H",
      active: true,
      permanent: false,
      conflict: false,
      deregistering: false,
    }));
    const data = { kind: "status", names, unitId: this.#options.unitId } as const;
    const record = { name, type: RR_TYPE.nbstat, ttl: 0, data };
    const packet = namePacket({
      id: request.packet.id,
      opcode: OPCODE.query,
      response: true,
      authoritative: true,
      answers: [record],
    });
    return [{ type: "send", packet, to: request.from }];
  }

  /** RFC 1002 §4.2.2–3, §5.1.4.1. */
  #register(request: Request, now: number): readonly NameServerAction[] {
    const { packet, name, from } = request;
    const entry = entryOf(packet);
    const own = this.#own.get(nameKey(name));
    if (packet.broadcast) {
      // A claim to everybody is only ours to deny, and a group is open to all (RFC 1002 §5.1.1.5).
      if (own === undefined || entry === undefined || (own.group && entry.group)) return [];
      if (own.entries.some(({ address }) => address === entry.address)) return [];
      return [this.#reply(request, RCODE.active, addressRecord(own, 0)), note("defended", request)];
    }
    if (entry === undefined) return [this.#reply(request, RCODE.format)];
    if (own !== undefined) return this.#deny(request, RCODE.active, entry);
    const { register } = this.#options;
    if (register === "none" || (register === "own-address" && entry.address !== from.address)) {
      return this.#deny(request, RCODE.refused, entry);
    }
    const owned = this.#table.find(name, now);
    if (owned === undefined || owned.entries.every(({ address }) => address === entry.address)) {
      return this.#grant(request, entry, now);
    }
    if (owned.group !== entry.group) return this.#deny(request, RCODE.active, entry);
    if (owned.group) return this.#grant(request, entry, now);
    // Somebody else has it: ask them whether they still want it, and the newcomer to wait (RFC 1002 §4.2.16).
    const owner = owned.entries.find(({ address }) => address !== entry.address);
    if (owner === undefined) return this.#grant(request, entry, now);
    return this.#challenges.begin(request, owner.address, now);
  }

  /** The present owner has answered a challenge, or has not. */
  #challenged(
    request: Request,
    owner: string,
    answer: NamePacket | undefined,
    now: number,
  ): readonly NameServerAction[] {
    const entry = entryOf(request.packet);
    if (entry === undefined) return [];
    const kept = answer === undefined || answer.rcode !== RCODE.ok ? [] : entriesOf(answer);
    if (kept.length === 0) {
      this.#table.remove(request.name, owner);
      return this.#grant(request, entry, now);
    }
    // A host with several addresses registers each: its own answer names the newcomer's address too.
    const same =
      request.packet.opcode === OPCODE.multihomed && kept.some(({ address }) => address === entry.address);
    return same ? this.#grant(request, entry, now) : this.#deny(request, RCODE.active, entry);
  }

  /** RFC 1002 §4.2.4. A refresh of what is not there registers it: we may have been restarted. */
  #refresh(request: Request, now: number): readonly NameServerAction[] {
    const entry = entryOf(request.packet);
    if (request.packet.broadcast) return [];
    if (entry === undefined) return [this.#reply(request, RCODE.format)];
    const owned = this.#table.find(request.name, now);
    const known = owned?.entries.some(({ address }) => address === entry.address) === true;
    const allowed = this.#options.register === "any-address" || entry.address === request.from.address;
    if (!known || !allowed) return this.#register(request, now);
    return this.#grant(request, entry, now, "refreshed");
  }

  /** RFC 1002 §4.2.9–11: only the owner releases; a name that nobody has is as good as released. */
  #release(request: Request, now: number): readonly NameServerAction[] {
    const { packet, name, from } = request;
    if (packet.broadcast) return [];
    const entry = entryOf(packet);
    if (entry === undefined) return [this.#reply(request, RCODE.format)];
    if (this.#own.has(nameKey(name))) return this.#deny(request, RCODE.active, entry);
    const owned = this.#table.find(name, now);
    const allowed = this.#options.register === "any-address" || entry.address === from.address;
    if (
      owned !== undefined &&
      (!allowed || !owned.entries.some(({ address }) => address === entry.address))
    ) {
      return this.#deny(request, RCODE.active, entry);
    }
    this.#table.remove(name, entry.address);
    return [this.#reply(request, RCODE.ok, requestRecord(request, entry, 0)), note("released", request)];
  }

  #grant(
    request: Request,
    entry: RequestEntry,
    now: number,
    what: NameEvent = "registered",
  ): readonly NameServerAction[] {
    // RFC 1002 §4.2.2: a time to live of 0 asks for one without end, which nobody gets.
    const ttlMs = entry.ttlMs === 0 ? this.#options.ttlMs : Math.min(entry.ttlMs, this.#options.ttlMs);
    const { group, node, address } = entry;
    const owned: OwnedEntry = { group, node, address, until: now + ttlMs };
    if (!this.#table.add(request.name, owned, now)) return this.#deny(request, RCODE.server, entry);
    return [this.#reply(request, RCODE.ok, requestRecord(request, entry, ttlMs)), note(what, request)];
  }

  #deny(request: Request, rcode: number, entry: RequestEntry): readonly NameServerAction[] {
    return [this.#reply(request, rcode, requestRecord(request, entry, 0)), note("refused", request)];
  }

  #reply(request: Request, rcode: number, record?: ResourceRecord): NameServerAction {
    const { packet, from } = request;
    const nameServer = !packet.broadcast;
    const answer = namePacket({
      id: packet.id,
      // RFC 1002 §4.2.5: registration, overwrite, refresh and multi-homed registration have the same answer.
      opcode:
        packet.opcode === OPCODE.query || packet.opcode === OPCODE.release
          ? packet.opcode
          : OPCODE.registration,
      response: true,
      authoritative: true,
      recursionDesired: packet.recursionDesired,
      recursionAvailable: nameServer,
      rcode,
      answers: record === undefined ? [] : [record],
    });
    return { type: "send", packet: answer, to: from };
  }
}

/** A request being dealt with. */
export interface Request {
  readonly packet: NamePacket;
  readonly from: Peer;
  readonly name: NetbiosName;
}

interface RequestEntry {
  readonly group: boolean;
  readonly node: OwnedEntry["node"];
  readonly address: string;
  readonly ttlMs: number;
}

/** So that an answer stays within one packet of the network, and a small question does not make a large one. */
const MAX_STATUS_NAMES = 64;

function ownedBy({ name, group, addresses }: OwnName): Owned {
  return { name, group, entries: addresses.map((address) => ({ group, node: "H", address })) };
}

/** The address a registration, refresh or release is about: its only additional record. */
function entryOf(packet: NamePacket): RequestEntry | undefined {
  const record = packet.additional[0];
  if (record === undefined || record.data.kind !== "addresses") return undefined;
  const entry = record.data.entries[0];
  return entry === undefined ? undefined : { ...entry, ttlMs: record.ttl * 1000 };
}

function entriesOf(packet: NamePacket): readonly { readonly address: string }[] {
  return packet.answers.flatMap(({ data }) => (data.kind === "addresses" ? data.entries : []));
}

function addressRecord(owned: Owned, ttlMs: number): ResourceRecord {
  const entries = owned.entries.map(({ group, node, address }) => ({ group, node, address }));
  return { name: owned.name, type: RR_TYPE.nb, ttl: seconds(ttlMs), data: { kind: "addresses", entries } };
}

/** What the requester said, with the time to live it gets. */
function requestRecord(
  request: Request,
  { group, node, address }: RequestEntry,
  ttlMs: number,
): ResourceRecord {
  const data = { kind: "addresses", entries: [{ group, node, address }] } as const;
  return { name: request.name, type: RR_TYPE.nb, ttl: seconds(ttlMs), data };
}

function seconds(ms: number): number {
  return Math.max(Math.ceil(ms / 1000), 0);
}

function note(what: NameEvent, { name, from }: Request): NameServerAction {
  return { type: "note", what, name, from };
}
