import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import { HoldfastError } from "../kernel/errors.ts";
import type { Kernel } from "../kernel/kernel.ts";
import type { Listener, ListenOptions } from "./listen.ts";
import { listenOn } from "./listen.ts";
import type { Member } from "./members.ts";
import { Members } from "./members.ts";
import { RelaySessions } from "./relay-session.ts";

/** One client's connection, from its first byte to the end of what is relayed for it. */
export interface RelayClient extends Member {
  /** True until there is a relay: before that there is nothing a drain would wait for. */
  readonly negotiating: boolean;
  /** Closes everything at once. Resolves when both sides are closed. */
  abort(why: string): Promise<void>;
}

export interface RelayServerOptions<Client> {
  readonly kernel: Kernel;
  /** Connections at once; those beyond are reset. */
  readonly connections: number;
  readonly countsEveryMs: number;
  readonly onFault: (error: unknown) => void;
  /** Takes a client in, until it says with `left` that it is gone; `undefined` turns it away. */
  readonly welcome: (socket: Socket) => Client | undefined;
}

/** The ports of a server that relays, who has come by them, and their sessions: opened, drained and closed together. */
export class RelayServer<Client extends RelayClient> {
  readonly sessions: RelaySessions;
  readonly #options: RelayServerOptions<Client>;
  readonly #servers = new Set<Server>();
  readonly #clients = new Members<Client>();
  #refused = 0;
  #closing = false;
  #emptied: (() => void) | undefined;

  constructor(options: RelayServerOptions<Client>) {
    this.#options = options;
    this.sessions = new RelaySessions(options);
  }

  /** Those who are there now, handshakes included. */
  get clients(): Iterable<Client> {
    return this.#clients;
  }

  get size(): number {
    return this.#clients.size;
  }

  /** Connections reset as they came. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Opens a port; there may be several. Rejects with the system's error when it cannot.
   * @throws HoldfastError `invalid-argument` after `close`.
   */
  async listen(at: ListenOptions): Promise<Listener> {
    if (this.#closing)
      throw new HoldfastError("invalid-argument", "This server was closed; create a new one.");
    await this.#options.kernel.start();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    const listener = await listenOn(server, at);
    // From here on an error is of one accept (out of descriptors): the next may work.
    server.on("error", this.#options.onFault);
    server.on("close", () => this.#servers.delete(server));
    this.#servers.add(server);
    return listener;
  }

  left(client: Client): void {
    this.#clients.delete(client);
    if (this.#clients.size === 0) this.#emptied?.();
  }

  /** Takes no more clients, lets those that are there finish until `deadlineMs` from now, then closes what is left. */
  async drain(deadlineMs: number): Promise<void> {
    this.#stopListening();
    for (const client of this.#clients) if (client.negotiating) void client.abort("shutdown");
    if (this.#clients.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.kernel.clock.after(deadlineMs, resolve);
        this.#emptied = () => {
          cancel();
          resolve();
        };
      });
    }
    await this.close();
  }

  /** Closes ports and connections now; resolves when their sessions are written as ended. */
  async close(): Promise<void> {
    this.#stopListening();
    await Promise.all([...this.#clients].map((client) => client.abort("shutdown")));
    await this.sessions.settled(SETTLE_MS);
  }

  #stopListening(): void {
    this.#closing = true;
    for (const server of this.#servers) server.close();
  }

  #accept(socket: Socket): void {
    const full = this.#closing || this.#clients.size >= this.#options.connections;
    const client = full ? undefined : this.#options.welcome(socket);
    if (client !== undefined) return this.#clients.add(client);
    this.#refused++;
    socket.on("error", () => socket.destroy());
    socket.resetAndDestroy();
  }
}

/** How long closing waits for a store that does not take the last writes. */
const SETTLE_MS = 5_000;
