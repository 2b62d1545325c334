import type { Socket } from "node:net";
import type { Listener, ListenOptions } from "../../transport/listen.ts";
import { RelayServer } from "../../transport/relay-server.ts";
import { plainAddress } from "./address.ts";
import type { Surroundings } from "./connection.ts";
import { Connection } from "./connection.ts";
import type { Settings, SocksOptions } from "./options.ts";
import { settle } from "./options.ts";

/**
 * A SOCKS server: versions 4, 4a and 5 on one port, each relay a session of the kernel.
 * @throws HoldfastError `invalid-argument` when an option makes no sense.
 */
export function createSocks(options: SocksOptions): SocksServer {
  return new SocksServer(options);
}

export class SocksServer implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #server: RelayServer<Connection>;
  readonly #byPrincipal = new Map<string, number>();

  constructor(options: SocksOptions) {
    const settings = settle(options);
    const { kernel, countsEveryMs, onFault, limits } = settings;
    const { connections } = limits;
    this.#settings = settings;
    const welcome = (socket: Socket): Connection => new Connection(around, socket);
    this.#server = new RelayServer({ kernel, connections, countsEveryMs, onFault, welcome });
    const around: Surroundings = {
      settings,
      sessions: this.#server.sessions,
      enter: (principal) => this.#enter(principal),
      leave: (principal) => this.#leave(principal),
      gone: (connection) => this.#server.left(connection),
    };
  }

  /** Client connections, handshakes included. */
  get connections(): number {
    return this.#server.size;
  }

  /** Relays and associations. */
  get sessions(): number {
    return this.#server.sessions.size;
  }

  /** Connections closed as they came, because there were too many. */
  get refused(): number {
    return this.#server.refused;
  }

  /** Opens a listener; there may be several. Rejects with the system's error when it cannot. */
  async listen(at: ListenOptions = {}): Promise<Listener> {
    const { host, port } = await this.#server.listen(at);
    return { host: plainAddress(host), port };
  }

  /** Takes no more clients, lets those that are there finish until `deadlineMs` from now, then closes what is left. */
  drain(deadlineMs: number): Promise<void> {
    return this.#server.drain(deadlineMs);
  }

  /** Closes listeners and all connections now; resolves when their sessions are written as ended. */
  close(): Promise<void> {
    return this.#server.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #enter(principal: string | undefined): boolean {
    if (principal === undefined) return true;
    const count = this.#byPrincipal.get(principal) ?? 0;
    if (count >= this.#settings.limits.connectionsPerPrincipal) return false;
    this.#byPrincipal.set(principal, count + 1);
    return true;
  }

  #leave(principal: string | undefined): void {
    if (principal === undefined) return;
    const count = this.#byPrincipal.get(principal) ?? 0;
    if (count <= 1) this.#byPrincipal.delete(principal);
    else this.#byPrincipal.set(principal, count - 1);
  }
}
