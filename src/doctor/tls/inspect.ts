import { setTimeout as sleep } from "node:timers/promises";
import type { Finding } from "./findings.ts";
import { findingsOf } from "./findings.ts";
import type { Keepsake, Mishap, Target, Trip, TripOptions } from "./trip.ts";
import { isMishap, travel } from "./trip.ts";
import type { KeyName, Spread } from "./tickets.ts";
import { keyNamesOf, spreadOf } from "./tickets.ts";

export interface InspectOptions extends Target {
  /** Connections of each kind, 2 to 1,000. */
  readonly connections: number;
  /** Further names, to each of which a session made for `servername` is offered. */
  readonly otherNames: readonly string[];
  /** Waits so long, and then offers once more what was given before. */
  readonly laterMs?: number;
  /** Hears after each connection how many were made, of at most how many. */
  readonly onProgress?: (made: number, most: number) => void;
}

const VERSIONS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"] as const;
type Version = (typeof VERSIONS)[number];

/** What a server did when it was asked. Times are milliseconds since 1970; what does not apply is left out. */
export interface TlsInspection {
  readonly host: string;
  readonly port: number;
  readonly servername?: string;
  readonly at: number;
  /** Connections in all, and those that came to nothing, by code. */
  readonly connections: number;
  readonly failures: Readonly<Record<string, number>>;
  /** Where they went: a name may stand for several machines. */
  readonly addresses: readonly string[];
  readonly versions: readonly OfferedVersion[];
  readonly certificate?: CertificateFacts;
  readonly ways: readonly Way[];
  readonly names: readonly NameTrial[];
  readonly later: readonly LaterTrial[];
  readonly findings: readonly Finding[];
}

export interface OfferedVersion {
  readonly version: Version;
  readonly offered: boolean;
  readonly cipher?: string;
  /** The error's code, when it is not offered. */
  readonly code?: string;
}

export interface CertificateFacts {
  readonly subject: string;
  readonly validTo: string;
  readonly fingerprint256: string;
  /** Why it is not trusted here. */
  readonly distrust?: string;
}

/** One way to resume, tried on its own. */
export interface Way {
  readonly version: "TLSv1.2" | "TLSv1.3";
  readonly by: "id" | "ticket";
  /** Full handshakes that were made to see what comes. */
  readonly full: number;
  /** How many of them brought something to resume with. */
  readonly issued: number;
  /** Tickets, or identifiers, on one connection. */
  readonly perConnection: Spread;
  readonly sizeBytes: Spread;
  readonly lifetimeSeconds?: Spread;
  readonly earlyDataBytes?: Spread;
  /**
   * `name`: a ticket begins with its key's name. `random`: its beginning tells nothing. `reference`: it is too short to
   * hold a session, so it points into the server's cache. `unknown`: too few to tell.
   */
  readonly beginning?: "name" | "random" | "reference" | "unknown";
  /** The keys' names, the most frequent first. */
  readonly keyNames?: readonly KeyName[];
  /** One session, offered again and again. */
  readonly again: Trial;
  /** As a browser does: the latest that was given, in TLS 1.3 each only once, else a full handshake. */
  readonly browsing: Trial & { /** Resumptions that brought something new. */ readonly renewed: number };
}

export interface Trial {
  readonly resumed: number;
  readonly of: number;
  /** Which of them resumed, in order: `R` resumed, `f` full, `x` failed. */
  readonly trace: string;
}

/** A session offered some time after it was given. */
export interface LaterTrial {
  readonly version: Way["version"];
  readonly by: Way["by"];
  readonly afterMs: number;
  readonly resumed: boolean;
}

/** A session made for one name, offered to another. */
export interface NameTrial {
  readonly version: "TLSv1.2" | "TLSv1.3";
  readonly from: string;
  readonly to: string;
  readonly resumed: boolean;
}

/** Why nothing can be said about a server. */
export interface Unreachable {
  readonly unreachable: Mishap;
}

/** Looks at a server from outside: about nine connections for each one of `connections`, one after the other. */
export async function inspectTls(options: InspectOptions): Promise<TlsInspection | Unreachable> {
  const survey = new Survey(options);
  const first = await survey.go();
  if (isMishap(first)) return { unreachable: first };
  const versions = await survey.versions();
  const ways: Way[] = [];
  const names: NameTrial[] = [];
  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    if (!versions.some((one) => one.version === version && one.offered)) continue;
    if (version === "TLSv1.2") ways.push(await survey.way(version, "id"));
    ways.push(await survey.way(version, "ticket"));
    names.push(...(await survey.names(version)));
  }
  const later = await survey.later();
  const { host, port, servername } = options;
  const certificate = certificateOf(first);
  const seen = {
    host,
    port,
    ...(servername !== undefined && { servername }),
    at: Date.now(),
    connections: survey.count,
    failures: Object.fromEntries(survey.failures),
    addresses: [...survey.addresses],
    versions,
    ...(certificate !== undefined && { certificate }),
    ways,
    names,
    later,
  };
  return { ...seen, findings: findingsOf(seen) };
}

class Survey {
  readonly #options: InspectOptions;
  readonly addresses = new Set<string>();
  readonly failures = new Map<string, number>();
  count = 0;
  /** Unused, for a later trial. */
  readonly #spare: {
    readonly way: Pick<Way, "version" | "by">;
    readonly trip: TripOptions;
    readonly at: number;
  }[] = [];

  readonly #most: number;

  constructor(options: InspectOptions) {
    this.#options = options;
    const { connections, otherNames, laterMs } = options;
    const inWays = WAYS * (3 * connections - 1) + (laterMs === undefined ? 0 : WAYS);
    // One to begin with, and one to see whether TLS 1.3 wants patience, for each name too.
    this.#most = 1 + VERSIONS.length + inWays + 1 + otherNames.length * 5;
  }

  async go(trip: TripOptions = {}, target: Target = this.#options): Promise<Trip | Mishap> {
    target.signal?.throwIfAborted();
    this.count++;
    const outcome = await travel(target, trip);
    target.signal?.throwIfAborted();
    if (!isMishap(outcome)) this.addresses.add(outcome.address);
    this.#options.onProgress?.(this.count, this.#most);
    return outcome;
  }

  async versions(): Promise<OfferedVersion[]> {
    const offered: OfferedVersion[] = [];
    for (const version of VERSIONS) {
      const outcome = await this.go({ version });
      offered.push(
        isMishap(outcome)
          ? { version, offered: false, code: outcome.code }
          : { version, offered: true, cipher: outcome.cipher },
      );
    }
    return offered;
  }

  async way(version: Way["version"], by: Way["by"]): Promise<Way> {
    const plain: TripOptions = { version, ...(by === "id" && { withoutTickets: true }) };
    const trip: TripOptions = { ...plain, ...(await this.#patience(version)) };
    const usable = (trips: Trip): readonly Keepsake[] =>
      trips.kept.filter((one) => by === "id" || one.ticket !== undefined);
    const fresh: (readonly Keepsake[])[] = [];
    for (let i = 0; i < this.#options.connections; i++) {
      const outcome = await this.#counted(trip);
      if (!isMishap(outcome)) fresh.push(usable(outcome));
    }
    const all = fresh.flat();
    const first = all[0];
    const last = all.at(-1);
    if (last !== undefined)
      this.#spare.push({ way: { version, by }, trip: { ...plain, session: last }, at: Date.now() });
    const tickets = all.flatMap(({ ticket }) => (ticket === undefined ? [] : [ticket]));
    const sizes = by === "id" ? all.map(({ id }) => id.length) : tickets.map((ticket) => ticket.length);
    return {
      version,
      by,
      full: fresh.length,
      issued: fresh.filter((kept) => kept.length > 0).length,
      perConnection: spreadOf(fresh.map((kept) => kept.length)),
      sizeBytes: spreadOf(sizes),
      ...(by === "ticket" && first !== undefined && this.#ofTickets(fresh)),
      again: first === undefined ? NO_TRIAL : await this.#again(plain, first),
      browsing: first === undefined ? { ...NO_TRIAL, renewed: 0 } : await this.#browsing(trip, usable),
    };
  }

  async names(version: NameTrial["version"]): Promise<NameTrial[]> {
    const from = this.#options.servername ?? this.#options.host;
    const trials: NameTrial[] = [];
    for (const to of this.#options.otherNames) {
      const made = await this.#counted({ version, ...(await this.#patience(version)) });
      const session = isMishap(made) ? undefined : made.kept.at(-1);
      if (session === undefined) continue;
      const outcome = await this.#counted({ version, session }, { ...this.#options, servername: to });
      if (!isMishap(outcome)) trials.push({ version, from, to, resumed: outcome.resumed });
    }
    return trials;
  }

  /** Some servers of TLS 1.3 lose their tickets when the client leaves at once; then it is better to stay a little. */
  async #patience(version: Way["version"]): Promise<Pick<TripOptions, "lingerMs">> {
    if (version !== "TLSv1.3" || this.#options.http === true) return {};
    const hasty = await this.go({ version });
    return !isMishap(hasty) && hasty.kept.length === 0 ? { lingerMs: LINGER_MS } : {};
  }

  async later(): Promise<LaterTrial[]> {
    const { laterMs, signal } = this.#options;
    if (laterMs === undefined) return [];
    await sleep(laterMs, undefined, signal === undefined ? {} : { signal });
    const trials: LaterTrial[] = [];
    for (const { way, trip, at } of this.#spare) {
      const outcome = await this.#counted(trip);
      if (!isMishap(outcome)) trials.push({ ...way, afterMs: Date.now() - at, resumed: outcome.resumed });
    }
    return trials;
  }

  #ofTickets(fresh: readonly (readonly Keepsake[])[]): Partial<Way> {
    const all = fresh.flat();
    return {
      lifetimeSeconds: spreadOf(all.map(({ lifetimeHint = 0 }) => lifetimeHint)),
      earlyDataBytes: spreadOf(all.map(({ maxEarlyData = 0 }) => maxEarlyData)),
      ...keyNamesOf(
        fresh.map((kept) => kept.flatMap(({ ticket }) => (ticket === undefined ? [] : [ticket]))),
      ),
    };
  }

  async #again(trip: TripOptions, session: Keepsake): Promise<Trial> {
    let trace = "";
    for (let i = 1; i < this.#options.connections; i++) {
      trace += letter(await this.#counted({ ...trip, session }));
    }
    return trialOf(trace);
  }

  /** RFC 8446 §C.4: a client should use a ticket once. */
  async #browsing(trip: TripOptions, usable: (trip: Trip) => readonly Keepsake[]): Promise<Way["browsing"]> {
    let trace = "";
    let renewed = 0;
    let held: Keepsake[] = [];
    for (let i = 0; i < this.#options.connections; i++) {
      const session = trip.version === "TLSv1.3" ? held.pop() : held.at(-1);
      const outcome = await this.#counted({ ...trip, ...(session !== undefined && { session }) });
      if (i > 0) trace += letter(outcome);
      if (isMishap(outcome)) continue;
      const kept = usable(outcome);
      if (outcome.resumed && kept.length > 0) renewed++;
      // A refusal is told by a full handshake, and what was held is then of no use any more.
      held = outcome.resumed ? [...held, ...kept] : [...kept];
    }
    return { ...trialOf(trace), renewed };
  }

  async #counted(trip: TripOptions, target?: Target): Promise<Trip | Mishap> {
    const outcome = await this.go(trip, target);
    if (isMishap(outcome)) this.failures.set(outcome.code, (this.failures.get(outcome.code) ?? 0) + 1);
    return outcome;
  }
}

function letter(outcome: Trip | Mishap): string {
  return isMishap(outcome) ? "x" : outcome.resumed ? "R" : "f";
}

function trialOf(trace: string): Trial {
  return { resumed: trace.replaceAll(/[^R]/g, "").length, of: trace.length, trace };
}

function certificateOf({ certificate, distrust }: Trip): CertificateFacts | undefined {
  if (certificate === undefined) return undefined;
  const { subject, valid_to, fingerprint256 } = certificate;
  return {
    subject: Object.entries(subject ?? {})
      .map(([name, value]) => `${name}=${[value].flat().join("+")}`)
      .join(", "),
    validTo: instantOf(valid_to),
    fingerprint256,
    ...(distrust !== undefined && { distrust }),
  };
}

/** As people of all places write it; as the certificate has it when that is no time. */
function instantOf(text: string): string {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

/** TLS 1.2 by session ID and by ticket, and TLS 1.3. */
const WAYS = 3;
const LINGER_MS = 500;
const NO_TRIAL: Trial = { resumed: 0, of: 0, trace: "" };
