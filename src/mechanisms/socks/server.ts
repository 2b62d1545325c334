import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { HoldfastError } from "../../kernel/index.ts";
import { Members } from "../../transport/members.ts";
import { RelaySessions } from "../../transport/relay-session.ts";
import { plainAddress } from "./address.ts";
import type { Surroundings } from "./connection.ts";
import { Connection } from "./connection.ts";
import type { Settings, SocksOptions } from "./options.ts";
import { settle } from "./options.ts";

export interface ListenOptions {
  /** 127.0.0.1 unless given. */
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly signal?: AbortSignal;
}

export interface Listener {
  readonly host: string;
  readonly port: number;
}

/**
 * A SOCKS server: versions 4, 4a and 5 on one port, each relay a session of the kernel.
 * @throws HoldfastError `invalid-argument` when an option makes no sense.
 */
export function createSocks(options: SocksOptions): SocksServer {
  return new SocksServer(options);
}

export class SocksServer implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #sessions: RelaySessions;
  readonly #servers = new Set<Server>();
  readonly #connections = new Members<Connection>();
  readonly #byPrincipal = new Map<string, number>();
  readonly #around: Surroundings;
  #refused = 0;
  #closing = false;
  #emptied: (() => void) | undefined;

  constructor(options: SocksOptions) {
    const settings = settle(options);
    const { kernel, countsEveryMs, onFault } = settings;
    this.#settings = settings;
    this.#sessions = new RelaySessions({ kernel, countsEveryMs, onFault });
    this.#around = {
      settings,
      sessions: this.#sessions,
      enter: (principal) => this.#enter(principal),
      leave: (principal) => this.#leave(principal),
      gone: (connection) => {
        this.#connections.delete(connection);
        if (this.#connections.size === 0) this.#emptied?.();
      },
    };
  }

  /** Client connections, handshakes included. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Relays and associations. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Connections closed as they came, because there were too many. */
  get refused(): number {
    return this.#refused;
  }

  /** Opens a listener; there may be several. Rejects with the system's error when it cannot. */
  async listen({ host = "127.0.0.1", port = 0, signal }: ListenOptions = {}): Promise<Listener> {
    if (this.#closing)
      throw new HoldfastError("invalid-argument", "This server was closed; create a new one.");
    await this.#settings.kernel.start();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port, backlog: 1_024, ...(signal !== undefined && { signal }) }, () => {
        server.off("error", reject);
        resolve();
      });
    });
    server.on("error", this.#settings.onFault);
    server.on("close", () => this.#servers.delete(server));
    this.#servers.add(server);
    const at = server.address();
    if (at === null || typeof at === "string") throw new Error("a TCP listener has an address and a port");
    return { host: plainAddress(at.address), port: at.port };
  }

  /** Takes no more clients, lets those that are there finish until `deadlineMs` from now, then closes what is left. */
  async drain(deadlineMs: number): Promise<void> {
    this.#stopListening();
    const { clock } = this.#settings.kernel;
    for (const connection of this.#connections) if (connection.negotiating) void connection.abort("shutdown");
    if (this.#connections.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(deadlineMs, resolve);
        this.#emptied = () => {
          cancel();
          resolve();
        };
      });
    }
    await this.close();
  }

  /** Closes listeners and all connections now; resolves when their sessions are written as ended. */
  async close(): Promise<void> {
    this.#stopListening();
    await Promise.all([...this.#connections].map((connection) => connection.abort("shutdown")));
    await this.#sessions.settled(SETTLE_MS);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #stopListening(): void {
    this.#closing = true;
    for (const server of this.#servers) server.close();
  }

  #accept(socket: Socket): void {
    if (this.#closing || this.#connections.size >= this.#settings.limits.connections) {
      this.#refused++;
      socket.on("error", () => socket.destroy());
      socket.resetAndDestroy();
      return;
    }
    this.#connections.add(new Connection(this.#around, socket));
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

/** How long closing waits for a store that does not take the last writes. */
const SETTLE_MS = 5_000;
