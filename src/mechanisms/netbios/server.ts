import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { Kernel } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
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
  /** Connections dropped because their address had too many that said nothing yet. */
  readonly dropped: number;
  /** Of the sessions that are open. */
  readonly bytesUp: number;
  readonly bytesDown: number;
}

export class NetbiosGateway {
  readonly kernel: Kernel;
  readonly #settings: Settings;
  readonly #routes: Routes;
  readonly #probes: Probes;
  /** What its connections may ask of it. */
  readonly #context: Gateway;
  readonly #servers = new Set<Server>();
  readonly #connections = new Set<Connection>();
  readonly #sessionsOf = new Map<string, number>();
  readonly #handshakesOf = new Map<string, number>();
  #sessions = 0;
  #accepted = 0;
  #dropped = 0;

  constructor(options: NetbiosOptions) {
    this.kernel = options.kernel;
    this.#settings = settingsOf(options);
    this.#routes = new Routes(options);
    this.#probes = new Probes(options.kernel, this.#settings.limits.probesMs);
    this.#context = {
      kernel: this.kernel,
      settings: this.#settings,
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

  /** Port 139 on every address when left out; 0 takes a free port. May be called for several addresses. */
  async listen(at: { readonly host?: string; readonly port?: number } = {}): Promise<AddressInfo> {
    await this.kernel.start();
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#connected(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: at.host, port: at.port ?? 139 }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    // From here on an error is of one accept (out of descriptors): the next may work.
    server.on("error", (error) => this.kernel.inBackground(Promise.reject(error)));
    this.#servers.add(server);
    const address = server.address();
    if (address === null || typeof address === "string") {
      throw new HoldfastError("unsupported", "The session service listens on TCP.");
    }
    return address;
  }

  stats(): NetbiosStats {
    let bytesUp = 0;
    let bytesDown = 0;
    for (const { carried } of this.#connections) {
      bytesUp += carried?.bytesUp ?? 0;
      bytesDown += carried?.bytesDown ?? 0;
    }
    return {
      connections: this.#connections.size,
      sessions: this.#sessions,
      accepted: this.#accepted,
      refused: this.#probes.total,
      dropped: this.#dropped,
      bytesUp,
      bytesDown,
    };
  }

  /** Takes no new connections, and resolves when the last session is over; at `deadline` (ms since 1970) they are ended. */
  async drain(deadline: number): Promise<void> {
    this.#stopListening();
    for (const connection of this.#connections)
      if (connection.carried === undefined) void connection.evict("drain");
    const { clock } = this.kernel;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(Math.max(deadline - clock.now(), 0), resolve);
      void this.#quiet().then(() => {
        cancel();
        resolve();
      });
    });
    await this.close();
  }

  /** Ends every session `evicted` and resolves when their connections are closed. */
  async close(): Promise<void> {
    this.#stopListening();
    await Promise.all([...this.#connections].map((connection) => connection.evict("gateway closed")));
    this.#probes.flush();
  }

  #connected(socket: Socket): void {
    const address = socket.remoteAddress ?? "unknown";
    const handshakes = this.#handshakesOf.get(address) ?? 0;
    const { limits } = this.#settings;
    if (handshakes >= limits.handshakesPerPeer) {
      this.#dropped++;
      socket.destroy();
      return;
    }
    this.#handshakesOf.set(address, handshakes + 1);
    const connection = new Connection(this.#context, socket);
    this.#connections.add(connection);
    this.kernel.inBackground(connection.done.finally(() => this.#connections.delete(connection)));
  }

  #enter(address: string): boolean {
    const { limits } = this.#settings;
    const sessions = this.#sessionsOf.get(address) ?? 0;
    if (this.#sessions >= limits.sessions || sessions >= limits.perPeer) return false;
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
    for (const server of this.#servers) server.close();
    this.#servers.clear();
  }

  async #quiet(): Promise<void> {
    while (this.#connections.size > 0) {
      await Promise.all([...this.#connections].map((connection) => connection.done));
    }
  }
}

function decrease(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
