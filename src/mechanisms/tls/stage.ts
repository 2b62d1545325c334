import { randomBytes } from "node:crypto";
import type { Connection } from "./connection.ts";
import { UNREAD } from "./connection.ts";
import type { EpochKeys } from "./schedule.ts";
import { sealTag } from "./codec/ticket.ts";
import type { Handle } from "../../kernel/index.ts";
import type { TicketAnswer } from "./internals.ts";

/** What the stage needs of the mechanism a connection belongs to. */
export interface Maker {
  making(domain: string): EpochKeys | undefined;
  mint(): Handle;
  hourNow(): number;
  counted(what: "issued" | "unusable"): void;
}

/** A server with connections whose TLS 1.2 handshake is under way, by trust domain. */
export interface Source {
  readonly maker: Maker;
  readonly handshakes: ReadonlyMap<string, number>;
  /** False where the store keeps what clients resume, and nothing is asked for here. */
  readonly makesTickets: boolean;
}

interface Issuing {
  readonly connection: Connection;
  readonly source: Source;
}

/**
 * Whom a ticket is for. OpenSSL asks for ticket keys without saying which connection it is at, so it is told from the
 * order of things, which is the same on every Node there is a test for:
 * - a ticket that is read was approved before, and is known by its IV;
 * - a TLS 1.2 ticket for a resumed session is written while its ClientHello is being read;
 * - TLS 1.3 tickets are written right after `secureConnection`: two for a new session, one for a resumed one;
 * - what is left is the ticket of a full TLS 1.2 handshake, and its `secureConnection` is the very next. Its trust domain
 *   is that of the handshakes under way. If they are of several, the ticket is made with a key that nobody keeps.
 */
export class Stage {
  /** The connection whose ClientHello is being read. */
  reading: { connection: Connection; source: Source } | undefined;
  /** The last one that finished a TLS 1.3 handshake. */
  issuing: Issuing | undefined;
  /** The handle in the last ticket of a full TLS 1.2 handshake, until its `secureConnection`. */
  unclaimed: Handle | undefined;
  readonly #approved = new Map<string, { keys: EpochKeys; count: number }>();
  readonly #sources = new Set<Source>();
  /** Sources by their context, where it is not one of several names'. */
  readonly #contexts = new WeakMap<object, Set<Source>>();
  #count = randomBytes(2).readUInt16BE();

  add(source: Source): void {
    this.#sources.add(source);
  }

  remove(source: Source): void {
    this.#sources.delete(source);
  }

  knows(context: object, source: Source): void {
    const sources = this.#contexts.get(context);
    if (sources === undefined) this.#contexts.set(context, new Set([source]));
    else sources.add(source);
  }

  /** By the ticket's IV as `latin1`, until `disapprove`: a handshake can ask twice for its ticket, when there is a HelloRetryRequest. */
  approve(key: string, keys: EpochKeys): void {
    const count = this.#approved.get(key)?.count ?? 0;
    this.#approved.set(key, { keys, count: count + 1 });
  }

  disapprove(key: string): void {
    const approved = this.#approved.get(key);
    if (approved !== undefined && --approved.count === 0) this.#approved.delete(key);
  }

  ticketKeys(context: object, name: Buffer, iv: Buffer, making: boolean): TicketAnswer {
    if (making) return this.#make(context);
    const approved = this.#approved.get(iv.toString("latin1"))?.keys;
    if (approved === undefined || !approved.name.equals(name)) return [REFUSED, NOTHING, NOTHING];
    return [GOOD_AND_RENEWED, approved.hmac, approved.aes];
  }

  #make(context: object): TicketAnswer {
    const { reading, issuing } = this;
    // What a handshake that failed has left behind is nobody's.
    this.unclaimed = undefined;
    if (reading !== undefined) return this.#makeFor(reading.connection, reading.source.maker);
    const known = this.#contexts.get(context);
    if (issuing !== undefined && isFor(issuing, known)) {
      if (--issuing.connection.ticketsLeft === 0) this.issuing = undefined;
      return this.#makeFor(issuing.connection, issuing.source.maker);
    }
    const sources = known ?? this.#sources;
    const only = onlyOne(sources);
    if (only === undefined) return unusable(sources);
    const { maker } = only;
    this.unclaimed = maker.mint();
    return this.#answer(maker, only.domain, this.unclaimed, maker.hourNow(), sources);
  }

  #makeFor(connection: Connection, maker: Maker): TicketAnswer {
    const { handle, resumable, domain, startedHour } = connection;
    if (handle === undefined || !resumable) return unusable([{ maker }]);
    return this.#answer(maker, domain, handle, startedHour, [{ maker }]);
  }

  #answer(
    maker: Maker,
    domain: string,
    handle: Handle,
    startedHour: number,
    sources: Iterable<Pick<Source, "maker">>,
  ): TicketAnswer {
    const keys = domain === UNREAD ? undefined : maker.making(domain);
    if (keys === undefined) return unusable(sources);
    this.#count = (this.#count + 1) & 0xffff;
    const iv = sealTag({ handle, startedHour }, this.#count, keys);
    maker.counted("issued");
    return [GOOD, keys.hmac, keys.aes, keys.name, iv];
  }
}

/** Whether that connection still has a ticket to come, and the context asking may be its. */
function isFor({ connection, source }: Issuing, known: ReadonlySet<Source> | undefined): boolean {
  return connection.ticketsLeft > 0 && source.makesTickets && known?.has(source) !== false;
}

/** The one trust domain in which TLS 1.2 handshakes are under way. */
function onlyOne(sources: Iterable<Source>): { maker: Maker; domain: string } | undefined {
  let only: { maker: Maker; domain: string } | undefined;
  for (const { maker, handshakes } of sources) {
    for (const domain of handshakes.keys()) {
      if (only !== undefined && (only.maker !== maker || only.domain !== domain)) return undefined;
      only = { maker, domain };
    }
  }
  return only;
}

/** A ticket must be given, so it gets keys that are forgotten at once. */
function unusable(sources: Iterable<Pick<Source, "maker">>): TicketAnswer {
  for (const { maker } of sources) {
    maker.counted("unusable");
    break;
  }
  const [hmac, aes, name, iv] = [randomBytes(16), randomBytes(16), randomBytes(16), randomBytes(16)];
  return [GOOD, hmac, aes, name, iv];
}

const REFUSED = 0;
const GOOD = 1;
const GOOD_AND_RENEWED = 2;
const NOTHING = Buffer.alloc(16);
