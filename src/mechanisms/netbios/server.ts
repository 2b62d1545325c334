import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Kernel } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import { Members } from "../../transport/members.ts";
import { RelaySessions } from "../../transport/relay-session.ts";
import type { Carried } from "./carried.ts";
import type { NetbiosName } from "./codec/name.ts";
import type { Gateway } from "./connection.ts";
import { Connection } from "./connection.ts";
import type { NetbiosOptions, Settings } from "./options.ts";
import { settingsOf } from "./options.ts";
import { Probes } from "./probes.ts";
import { Routes } from "./routes.ts";

/**
 * A gateway for named sessions: who calls a name that has a route is relayed to its SMB server, and everybody else is
 * refused. Each session is the kernel's: listed, counted, limited and revocable.
 * @throws HoldfastError `invalid-argument` when a route, name or backend is not right.
 */
export function createNetbios(options: NetbiosOptions): NetbiosGateway {
  return new NetbiosGateway(options);
}

export interface NetbiosStats {
  readonly connections: number;
  readonly sessions: number;
  /** Since the start. */
  readonly accepted: number;
  readonly refused: number;
  /** Connections closed as they came: too many in all, or too many of their address that said nothing yet. */
  readonly dropped: number;
  /** Passed on since the start, keepalives not counted. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** To clients and backends. */
  readonly keepalivesSent: number;
}

export interface ListenOptions {
  readonly host?: string;
  readonly port?: number;
  readonly signal?: AbortSignal;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
}

export class NetbiosGateway implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly #settings: Settings;
  readonly #routes: Routes;
  readonly #relays: RelaySessions;
  readonly #probes: Probes;
  /** What its connections may ask of it. */
  readonly #context: Gateway;
  readonly #servers = new Set<Server>();
  readonly #connections = new Members<Connection>();
  readonly #sessionsOf = new Map<string, number>();
  readonly #handshakesOf = new Map<string, number>();
  /** What connections that are gone have carried. */
  readonly #past = { bytesUp: 0, bytesDown: 0, keepalivesSent: 0 };
  #sessions = 0;
  #accepted = 0;
  #dropped = 0;
  #closing = false;

  constructor(options: NetbiosOptions) {
    this.kernel = options.kernel;
    this.#settings = settingsOf(options);
    this.#routes = new Routes(options);
    this.#relays = new RelaySessions(this.#settings);
    this.#probes = new Probes(options.kernel, this.#settings.limits.probesMs);
    this.#context = {
      settings: this.#settings,
      sessions: this.#relays,
      routes: this.#routes,
      enter: (address) => this.#enter(address),
      leave: (address) => this.#leave(address),
      handshaken: (address) => decrease(this.#handshakesOf, address),
      refused: (address, called, calling, answer) =>
        this.#probes.add({ what: "call refused", address, name: called, detail: { calling, answer } }),
    };
  }

  /** The names that have a route: what a name service should answer for. */
  get names(): readonly NetbiosName[] {
    return this.#routes.names;
  }

  /**
   * Opens a listener; there may be several. 127.0.0.1 and port 139 unless given; port 0 takes a free one, which only
   * clients that can be told a port for the session service find. Rejects with the system's error when it cannot.
   */
  async listen(at: ListenOptions = {}): Promise<Listener> {
    if (this.#closing)
      throw new HoldfastError("invalid-argument", "This gateway was closed; create a new one.");
    const { host = "127.0.0.1", port = 139, signal } = at;
    await this.kernel.start();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, backlog: 1024, ...(signal !== undefined && { signal }) }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    // From here on an error is of one accept (out of descriptors): the next may work.
    server.on("error", this.#settings.onFault);
    server.on("close", () => this.#servers.delete(server));
    this.#servers.add(server);
    const address = server.address();
    if (address === null || typeof address === "string") {
      throw new HoldfastError("unsupported", "The session service listens on TCP.");
    }
    return { host: address.address, port: address.port };
  }

  stats(): NetbiosStats {
    const totals = { ...this.#past };
    for (const { carried } of this.#connections) if (carried !== undefined) addTo(totals, carried);
    return {
      connections: this.#connections.size,
      sessions: this.#sessions,
      accepted: this.#accepted,
      refused: this.#probes.total,
      dropped: this.#dropped,
      ...totals,
    };
  }

  /** Takes no new clients, lets those that are there finish until `deadlineMs` from now, then ends what is left. */
  async drain(deadlineMs: number): Promise<void> {
    this.#stopListening();
    for (const connection of this.#connections)
      if (connection.carried === undefined) void connection.evict("shutdown");
    await new Promise<void>((resolve) => {
      const cancel = this.kernel.clock.after(deadlineMs, resolve);
      void this.#quiet().then(() => {
        cancel();
        resolve();
      });
    });
    await this.close();
  }

  /** Closes listeners and all connections now; resolves when their sessions are written as ended. */
  async close(): Promise<void> {
    this.#stopListening();
    await Promise.all([...this.#connections].map((connection) => connection.evict("shutdown")));
    await this.#relays.settled(SETTLE_MS);
    this.#probes.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(socket: Socket): void {
    const address = socket.remoteAddress ?? "unknown";
    const handshakes = this.#handshakesOf.get(address) ?? 0;
    const { limits } = this.#settings;
    const full = this.#connections.size >= limits.connections || handshakes >= limits.handshakesPerPeer;
    if (this.#closing || full) {
      this.#dropped++;
      socket.resetAndDestroy();
      return;
    }
    this.#handshakesOf.set(address, handshakes + 1);
    const connection = new Connection(this.#context, socket);
    this.#connections.add(connection);
    void connection.done.then(() => {
      this.#connections.delete(connection);
      if (connection.carried !== undefined) addTo(this.#past, connection.carried);
    });
  }

  #enter(address: string): boolean {
    const { limits } = this.#settings;
    const sessions = this.#sessionsOf.get(address) ?? 0;
    if (sessions >= limits.perPeer) return false;
    this.#sessionsOf.set(address, sessions + 1);
    this.#sessions++;
    this.#accepted++;
    return true;
  }

  #leave(address: string): void {
    decrease(this.#sessionsOf, address);
    this.#sessions--;
  }

  #stopListening(): void {
    this.#closing = true;
    for (const server of this.#servers) server.close();
  }

  async #quiet(): Promise<void> {
    while (this.#connections.size > 0) {
      await Promise.all([...this.#connections].map((connection) => connection.done));
    }
  }
}

interface Totals {
  bytesUp: number;
  bytesDown: number;
  keepalivesSent: number;
}

function addTo(totals: Totals, { counts, keepalivesSent }: Carried): void {
  totals.bytesUp += counts.up;
  totals.bytesDown += counts.down;
  totals.keepalivesSent += keepalivesSent;
}

function decrease(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}

/** How long closing waits for a store that does not take the last writes. */
const SETTLE_MS = 5_000;
