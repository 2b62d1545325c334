import type { Socket } from "node:net";
import type { Kernel } from "../../kernel/index.ts";
import type { Listener, ListenOptions } from "../../transport/listen.ts";
import { RelayServer } from "../../transport/relay-server.ts";
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

export class NetbiosGateway implements AsyncDisposable {
  readonly kernel: Kernel;
  readonly #settings: Settings;
  readonly #routes: Routes;
  readonly #probes: Probes;
  readonly #server: RelayServer<Connection>;
  /** What its connections may ask of it. */
  readonly #context: Gateway;
  readonly #sessionsOf = new Map<string, number>();
  readonly #handshakesOf = new Map<string, number>();
  /** What connections that are gone have carried. */
  readonly #past = { bytesUp: 0, bytesDown: 0, keepalivesSent: 0 };
  #sessions = 0;
  #accepted = 0;

  constructor(options: NetbiosOptions) {
    this.kernel = options.kernel;
    this.#settings = settingsOf(options);
    const { kernel, limits, countsEveryMs, onFault } = this.#settings;
    this.#routes = new Routes(options);
    this.#probes = new Probes(kernel, limits.probesMs);
    this.#server = new RelayServer({
      kernel,
      connections: limits.connections,
      countsEveryMs,
      onFault,
      welcome: (socket) => this.#welcome(socket),
    });
    this.#context = {
      settings: this.#settings,
      sessions: this.#server.sessions,
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
  listen(at: ListenOptions = {}): Promise<Listener> {
    return this.#server.listen({ ...at, port: at.port ?? 139 });
  }

  stats(): NetbiosStats {
    const totals = { ...this.#past };
    for (const { carried } of this.#server.clients) if (carried !== undefined) addTo(totals, carried);
    return {
      connections: this.#server.size,
      sessions: this.#sessions,
      accepted: this.#accepted,
      refused: this.#probes.total,
      dropped: this.#server.refused,
      ...totals,
    };
  }

  /** Takes no new clients, lets those that are there finish until `deadlineMs` from now, then ends what is left. */
  async drain(deadlineMs: number): Promise<void> {
    await this.#server.drain(deadlineMs);
    this.#probes.flush();
  }

  /** Closes listeners and all connections now; resolves when their sessions are written as ended. */
  async close(): Promise<void> {
    await this.#server.close();
    this.#probes.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #welcome(socket: Socket): Connection | undefined {
    const address = socket.remoteAddress ?? "unknown";
    const handshakes = this.#handshakesOf.get(address) ?? 0;
    if (handshakes >= this.#settings.limits.handshakesPerPeer) return undefined;
    this.#handshakesOf.set(address, handshakes + 1);
    const connection = new Connection(this.#context, socket);
    void connection.done.then(() => {
      this.#server.left(connection);
      if (connection.carried !== undefined) addTo(this.#past, connection.carried);
    });
    return connection;
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
