export type Arg = string | number;
export type Command = readonly [name: string, ...args: Arg[]];

/** What the store needs of a client library, and all it needs. The connections behind it are the store's own. */
export interface RedisLink {
  readonly topology: "single" | "cluster";
  /** True while commands can be sent. */
  readonly ready: boolean;
  /** Called each time commands can be sent again. */
  onReady(run: () => void): void;
  /**
   * Sends one command to the node that serves `key`. Nothing is kept for longer than it takes to connect. Rejects with
   * the server's error, or with the library's when the connection is lost under way or cannot be made.
   */
  send(key: string, command: Command): Promise<unknown>;
  /** Sends commands over one connection, back to back. An answer that is an error is in its place. */
  batch(key: string, commands: readonly Command[]): Promise<readonly unknown[]>;
  /** Asks each master. An answer that is an error is in its place. */
  everywhere(command: Command): Promise<readonly unknown[]>;
  /** Subscribes to sharded channels, with connections of their own. */
  listen(channels: readonly string[], heard: (channel: string) => void): Promise<Listener>;
  /** Another set of connections to the same place, given up when silent for `silenceMs` with something asked. */
  fork(silenceMs: number): RedisLink;
  /** Drops the connections and makes new ones: for a node that turned into a replica, or does not answer. */
  renew(): void;
  close(): void;
}

export interface Listener {
  /** Aborted when a connection is lost; the reason says why. */
  readonly lost: AbortSignal;
  /** Rejects or stays silent when a connection is dead. */
  check(): Promise<unknown>;
  close(): void;
}
