import { constants } from "node:crypto";
import type { SecureContextOptions, Server, TLSSocket } from "node:tls";
import type { Handle } from "../../kernel/index.ts";
import { HoldfastError, isHoldfastError } from "../../kernel/index.ts";
import type { SessionCache } from "./cache.ts";
import type { CertificateList } from "./certificates.ts";
import { fingerprintsOf } from "./certificates.ts";
import type { Chains, Place } from "./chains.ts";
import type { ClientHello } from "./codec/client-hello.ts";
import { isAuthentic } from "./codec/ticket.ts";
import type { Approval, Connection, Verdict } from "./connection.ts";
import { UNREAD } from "./connection.ts";
import { Deadlines } from "./deadlines.ts";
import type { Plain } from "./front.ts";
import { readHello } from "./front.ts";
import type { Steering } from "./internals.ts";
import { asksForCertificates, socketBeneath } from "./internals.ts";
import type { Judge } from "./judge.ts";
import type { Counters, FullReason } from "./metrics.ts";
import { versionOf } from "./metrics.ts";
import type { Settings, TlsMode } from "./options.ts";
import { SessionIds } from "./session-ids.ts";
import type { Maker, Source, Stage } from "./stage.ts";

/** What an attachment shares with the others of its mechanism. */
export interface Surroundings {
  readonly settings: Settings;
  readonly judge: Judge;
  readonly chains: Chains;
  readonly cache: SessionCache;
  readonly counters: Counters;
  readonly maker: Maker;
  readonly stage: Stage;
  readonly steering: Steering | undefined;
  /** Resolves when there are keys, or when it is no use to wait for them longer. */
  readonly ready: () => Promise<void> | undefined;
  readonly contextSettings: ContextSettings;
  /** `socket` belongs to that session. */
  belongs(socket: TLSSocket, handle: Handle): void;
}

interface ContextSettings {
  readonly sessionIdContext: string;
  readonly sessionTimeout: number;
}

/** One server whose connections go through the mechanism, from their first byte to `secureConnection`. */
export class Attachment {
  readonly #around: Surroundings;
  readonly #server: Server;
  readonly #mode: TlsMode;
  readonly #source: Source;
  readonly #ids: SessionIds;
  readonly #handshakes = new Map<string, number>();
  readonly #deadlines: Deadlines;
  readonly #byPlain = new Map<object, Connection>();
  readonly #byPorts = new Map<string, Connection>();
  readonly #tlsListener: (this: Server, socket: Plain) => void;
  readonly #setSecureContext: (options: SecureContextOptions) => void;
  #authorities: ReadonlySet<string> | undefined;
  #speaksTls13 = false;

  constructor(around: Surroundings, server: Server, ca: CertificateList | undefined) {
    const { kernel, helloMs } = around.settings;
    this.#around = around;
    this.#deadlines = new Deadlines(kernel.clock, helloMs);
    this.#server = server;
    this.#mode = around.steering === undefined ? "cache" : around.settings.mode;
    const makesTickets = this.#mode !== "cache";
    this.#source = { maker: around.maker, handshakes: this.#handshakes, makesTickets };
    this.#ids = new SessionIds({
      ...around,
      mode: this.#mode,
      handshakes: this.#handshakes,
      inBackground: (work) => this.#inBackground(work),
    });
    this.#tlsListener = tlsListenerOf(server);
    this.#setSecureContext = server.setSecureContext.bind(server);
    if (ca !== undefined) this.#authorities = fingerprintsOf(ca);
    this.#steer();
    around.stage.add(this.#source);
    server.removeListener("connection", this.#tlsListener);
    server.prependListener("connection", this.#connected);
    server.prependListener("secureConnection", this.#secured);
    if (this.#mode !== "ticket") {
      server.on("newSession", this.#ids.newSession);
      server.on("resumeSession", this.#ids.resumeSession);
    }
    server.setSecureContext = this.#reload;
  }

  /** The server goes on by itself. Connections there are stay as they are. */
  detach(): void {
    const server = this.#server;
    this.#around.stage.remove(this.#source);
    server.removeListener("connection", this.#connected);
    server.prependListener("connection", this.#tlsListener);
    server.removeListener("secureConnection", this.#secured);
    server.removeListener("newSession", this.#ids.newSession);
    server.removeListener("resumeSession", this.#ids.resumeSession);
    server.setSecureContext = this.#setSecureContext;
  }

  /** A reload of certificates makes a new context, and takes every setting that has to do with sessions with it. */
  readonly #reload = (options: SecureContextOptions): void => {
    const { contextSettings } = this.#around;
    const secureOptions = (options.secureOptions ?? 0) | (this.#mode === "cache" ? NO_TICKET : 0);
    this.#setSecureContext({ ...options, ...contextSettings, secureOptions });
    if (options.ca !== undefined) this.#authorities = fingerprintsOf(options.ca);
    this.#steer();
  };

  #steer(): void {
    const { steering, stage, contextSettings } = this.#around;
    if (steering === undefined) return;
    steering.steer(this.#server, {
      idContext: contextSettings.sessionIdContext,
      timeoutSeconds: contextSettings.sessionTimeout,
      options: this.#mode === "cache" ? NO_TICKET : 0,
      tickets: this.#mode !== "cache",
    });
    const context = steering.contextOf(this.#server);
    if (context !== undefined) stage.knows(context, this.#source);
  }

  readonly #connected = (plain: Plain): void => {
    const limits = { deadlines: this.#deadlines, bytes: this.#around.settings.helloBytes };
    readHello(plain, limits, (hello) => {
      if (hello === undefined)
        this.#handOver(plain, undefined, { resume: undefined, why: "unreadable-hello" });
      else
        void this.#decide(plain, hello).catch((error: unknown) => {
          this.#around.settings.onFault(error);
          plain.destroy();
        });
    });
  };

  async #decide(plain: Plain, hello: ClientHello): Promise<void> {
    const { counters, settings, judge } = this.#around;
    const { clock } = settings.kernel;
    const began = clock.now();
    await this.#around.ready();
    const verdict = await judge.verdict(hello, {
      mode: this.#mode,
      domain: this.#domainOf(hello),
      place: this.#place(hello.serverName),
      speaksTls13: this.#speaksTls13,
    });
    counters.countWait(clock.now() - began);
    this.#handOver(plain, hello, verdict);
  }

  /** Node reads the message that was put back in the next tick; whoever is asked for in between is this connection. */
  #handOver(plain: Plain, hello: ClientHello | undefined, verdict: Verdict): void {
    if (plain.destroyed) return;
    const { stage } = this.#around;
    const connection: Connection = {
      domain: hello === undefined ? UNREAD : this.#domainOf(hello),
      serverName: hello?.serverName,
      hello,
      verdict,
      handle: verdict.resume === undefined ? undefined : verdict.handle,
      startedHour: verdict.resume === "ticket" ? verdict.startedHour : this.#around.maker.hourNow(),
      ticketsLeft: 0,
      over: () => {},
      resumable: hello !== undefined,
    };
    this.#enter(plain, connection);
    const reading = verdict.resume === undefined ? undefined : { connection, source: this.#source };
    process.nextTick(() => (stage.reading = reading));
    this.#tlsListener.call(this.#server, plain);
    process.nextTick(() => (stage.reading = undefined));
  }

  #enter(plain: Plain, connection: Connection): void {
    const { stage } = this.#around;
    const { verdict, domain, hello } = connection;
    this.#byPlain.set(plain, connection);
    const ports = this.#around.steering === undefined ? portsOf(plain) : undefined;
    if (ports !== undefined) this.#byPorts.set(ports, connection);
    if (verdict.resume === "ticket") stage.approve(verdict.iv, verdict.keys);
    const id = hello?.sessionId.toString("latin1") ?? "";
    if (verdict.resume === "id") {
      this.#ids.approve(id, verdict.state);
    }
    const mayBeTls12 = hello === undefined || !hello.offersTls13 || !this.#speaksTls13;
    if (mayBeTls12) this.#handshakes.set(domain, (this.#handshakes.get(domain) ?? 0) + 1);
    let isOver = false;
    const over = (): void => {
      if (isOver) return;
      isOver = true;
      plain.off("close", over);
      this.#byPlain.delete(plain);
      if (ports !== undefined && this.#byPorts.get(ports) === connection) this.#byPorts.delete(ports);
      if (verdict.resume === "ticket") stage.disapprove(verdict.iv);
      if (verdict.resume === "id") this.#ids.disapprove(id);
      if (!mayBeTls12) return;
      const left = (this.#handshakes.get(domain) ?? 1) - 1;
      if (left === 0) this.#handshakes.delete(domain);
      else this.#handshakes.set(domain, left);
    };
    connection.over = over;
    plain.on("close", over);
  }

  readonly #secured = (socket: TLSSocket): void => {
    const { counters, stage } = this.#around;
    const connection = this.#connectionOf(socket);
    const version = versionOf(socket.getProtocol());
    const isReused = socket.isSessionReused();
    // Only a client that knows tickets was given one just before, and only up to TLS 1.2.
    const hadTicket = version !== "TLSv1.3" && connection?.hello?.ticket !== undefined;
    const inTicket = hadTicket ? stage.unclaimed : undefined;
    stage.unclaimed = undefined;
    stage.issuing = undefined;
    connection?.over();
    if (connection === undefined || (isReused && connection.verdict.resume === undefined)) {
      // Node has resumed what nobody approved: the server was made without `serverOptions`, or by keys of its own.
      if (isReused) {
        counters.unapproved++;
        socket.destroy();
      }
      return;
    }
    if (version === "TLSv1.3") {
      this.#speaksTls13 = true;
      connection.ticketsLeft = connection.hello?.resumesTls13 === true ? (isReused ? 1 : 2) : 0;
      const issuing = { connection, source: this.#source };
      stage.issuing = issuing;
      // A resumed client gets its one ticket for certain; should a new one get fewer, they are not kept for another.
      if (!isReused)
        setImmediate(() => {
          if (stage.issuing === issuing) stage.issuing = undefined;
        });
    }
    if (isReused) this.#resumed(socket, connection, inTicket);
    else this.#begun(socket, connection, inTicket);
  };

  #resumed(socket: TLSSocket, connection: Connection, inTicket: Handle | undefined): void {
    const { counters, chains } = this.#around;
    const { verdict } = connection;
    if (verdict.resume === undefined) return;
    counters.countResumed(versionOf(socket.getProtocol()), verdict.resume);
    this.#around.belongs(socket, verdict.handle);
    // A server that looks its context up takes its time, and then a renewed ticket is written as a new one would be.
    if (inTicket !== undefined) this.#inBackground(chains.alias(inTicket, verdict.handle));
    if (verdict.record !== undefined) this.#inBackground(chains.carry(verdict.record, socket));
    else this.#begin(socket, connection, verdict.handle, "adopt");
  }

  #begun(socket: TLSSocket, connection: Connection, inTicket: Handle | undefined): void {
    const { counters, chains } = this.#around;
    const { verdict } = connection;
    const why = verdict.resume === undefined ? verdict.why : whyDeclined(verdict);
    counters.countFull(versionOf(socket.getProtocol()), why);
    const principal = this.#principalOf(socket);
    const handle = inTicket ?? this.#ids.claim(socket) ?? chains.mint(principal);
    connection.handle = handle;
    connection.startedHour = this.#around.maker.hourNow();
    connection.resumable &&= !this.#asksForCertificates || socket.authorized;
    this.#around.belongs(socket, handle);
    this.#begin(socket, connection, handle, "begin");
    if (this.#mode !== "ticket") this.#ids.settle(socket, connection, handle);
  }

  /** Writes the session; the connection goes on meanwhile, and ends when the kernel will not have it. */
  #begin(socket: TLSSocket, connection: Connection, handle: Handle, how: "begin" | "adopt"): void {
    const { chains, counters } = this.#around;
    const about = {
      serverName: connection.serverName,
      principal: this.#principalOf(socket),
      asksForCertificates: this.#asksForCertificates,
    };
    const begun = chains[how](handle, socket, about).then(
      (record) => {
        this.#around.belongs(socket, record.handle);
        return chains.carry(record, socket);
      },
      (error: unknown) => {
        if (isHoldfastError(error) && REFUSALS.has(error.code)) {
          counters.refused++;
          socket.destroy();
        } else throw error;
      },
    );
    this.#inBackground(begun);
  }

  /** A hook that throws has not said who it is, so it may not stay. */
  #principalOf(socket: TLSSocket): string | undefined {
    try {
      return this.#around.settings.principal(socket);
    } catch (error) {
      this.#around.settings.onFault(error);
      socket.destroy();
      return undefined;
    }
  }

  #connectionOf(socket: TLSSocket): Connection | undefined {
    const plain = socketBeneath(socket);
    if (typeof plain === "object" && plain !== null) return this.#byPlain.get(plain);
    const ports = portsOf(socket);
    return ports === undefined ? undefined : this.#byPorts.get(ports);
  }

  #domainOf({ serverName }: ClientHello): string {
    const { trustDomain } = this.#around.settings;
    if (trustDomain !== undefined) return trustDomain(serverName);
    return this.#asksForCertificates ? (serverName ?? "") : "";
  }

  #place(serverName: string | undefined): Place {
    const { ca } = this.#around.settings.certificates;
    return {
      serverName,
      asksForCertificates: this.#asksForCertificates,
      authorities: (name) => {
        const own = ca?.(name);
        return own === undefined ? this.#authorities : fingerprintsOf(own);
      },
    };
  }

  get #asksForCertificates(): boolean {
    return asksForCertificates(this.#server) ?? true;
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#around.settings.onFault(error));
  }
}

/** OpenSSL has looked at what a ticket holds; only now is it worth while to tell why it did not like it. */
function whyDeclined(verdict: Approval): FullReason {
  return verdict.resume === "ticket" && !isAuthentic(verdict.ticket, verdict.keys) ? "tampered" : "declined";
}

/** Node's own, which makes a TLS socket of a plain one. */
function tlsListenerOf(server: Server): (this: Server, socket: Plain) => void {
  const listeners = server.listeners("connection");
  const found = listeners.find(({ name }) => name === "tlsConnectionListener") ?? listeners[0];
  if (found !== undefined) return found as (this: Server, socket: Plain) => void;
  throw new HoldfastError(
    "invalid-argument",
    "Sessions are attached to a server of node:tls, node:https or node:http2 (a secure one).",
  );
}

/** Tells connections apart that are there at the same time. */
function portsOf(socket: object): string | undefined {
  const [remote, port, local]: unknown[] = ["remoteAddress", "remotePort", "localPort"].map((name) =>
    Reflect.get(socket, name),
  );
  return typeof port === "number" ? `${String(remote)} ${port} ${String(local)}` : undefined;
}

const NO_TICKET: number = constants.SSL_OP_NO_TICKET;
/** Those of the kernel that are a decision, and not a failure. */
const REFUSALS: ReadonlySet<string> = new Set(["locked", "limit-reached", "establish-refused"]);
