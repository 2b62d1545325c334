import type { Command, Listener, RedisLink } from "./link.ts";

/** The part of a node-redis client (`redis` 5 and later) that is used. */
export interface NodeRedisClient {
  readonly isReady: boolean;
  readonly options: { readonly socket?: object };
  sendCommand(args: readonly string[]): Promise<unknown>;
  sSubscribe(channel: string, listener: (message: string, channel: string) => void): Promise<void>;
  duplicate(overrides: object): NodeRedisClient;
  connect(): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
  destroy(): void;
}

/** The part of a node-redis cluster client that is used. */
export interface NodeRedisCluster<Node = unknown> {
  readonly masters: readonly Node[];
  nodeClient(node: Node): Promise<NodeRedisClient>;
  sendCommand(firstKey: string, isReadonly: boolean, args: string[]): Promise<unknown>;
  duplicate(overrides?: object): NodeRedisCluster<Node>;
  connect(): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
  destroy(): void;
}

/** A link like a client that the application made: same place, same credentials, connections of its own. */
export function likeNodeRedis(client: NodeRedisClient | NodeRedisCluster, silenceMs: number): RedisLink {
  return isCluster(client) ? new ClusterLink(client, silenceMs) : new SingleLink(client, silenceMs);
}

function isCluster(client: NodeRedisClient | NodeRedisCluster): client is NodeRedisCluster {
  return "masters" in client;
}

/** How long before a connection that failed is tried again. */
const RETRY_MS = 100;

interface Connectable {
  connect(): Promise<unknown>;
  on(event: string, listener: () => void): unknown;
  destroy(): void;
}

/** Connects, watches for silence, and replaces the client by a new one when it must be given up. */
abstract class NodeRedisLink<Client extends Connectable> {
  protected client: Client;
  protected readonly silenceMs: number;
  readonly #ready: (() => void)[] = [];
  #asked = 0;
  #watch: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(first: Client, silenceMs: number) {
    this.silenceMs = silenceMs;
    this.client = first;
    this.#adopt(first);
  }

  protected abstract fresh(): Client;

  onReady(run: () => void): void {
    this.#ready.push(run);
  }

  renew(): void {
    if (this.#closed) return;
    clearTimeout(this.#watch);
    this.#watch = undefined;
    this.#asked = 0;
    drop(this.client);
    this.client = this.fresh();
    this.#adopt(this.client);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#watch);
    drop(this.client);
  }

  /** node-redis has no limit for an answer: when nothing at all comes while something is asked, the connection is dead. */
  protected watched(asked: Promise<unknown>): Promise<unknown> {
    const { client } = this;
    this.#asked++;
    this.#watch ??= setTimeout(() => this.renew(), this.silenceMs);
    const heard = (): void => {
      if (client !== this.client) return;
      this.#asked--;
      clearTimeout(this.#watch);
      this.#watch = this.#asked > 0 ? setTimeout(() => this.renew(), this.silenceMs) : undefined;
    };
    asked.then(heard, heard);
    return asked;
  }

  protected announce(client: Client): void {
    if (client === this.client && !this.#closed) for (const run of this.#ready) run();
  }

  #adopt(client: Client): void {
    client.on("error", () => undefined);
    client.on("ready", () => this.announce(client));
    client.connect().then(
      () => this.announce(client),
      () => {
        if (client === this.client && !this.#closed)
          setTimeout(() => client === this.client && this.renew(), RETRY_MS);
      },
    );
  }
}

class SingleLink extends NodeRedisLink<NodeRedisClient> implements RedisLink {
  readonly topology = "single";

  constructor(like: NodeRedisClient, silenceMs: number) {
    super(careful(like), silenceMs);
  }

  get ready(): boolean {
    return this.client.isReady;
  }

  send(_key: string, command: Command): Promise<unknown> {
    return this.watched(this.client.sendCommand(command.map(String)));
  }

  batch(_key: string, commands: readonly Command[]): Promise<readonly unknown[]> {
    return settled(commands.map((command) => this.send("", command)));
  }

  everywhere(command: Command): Promise<readonly unknown[]> {
    return this.batch("", [command]);
  }

  listen(channels: readonly string[], heard: (channel: string) => void): Promise<Listener> {
    return listenOn([this.client], channels, heard);
  }

  fork(silenceMs: number): RedisLink {
    return new SingleLink(this.client, silenceMs);
  }

  protected override fresh(): NodeRedisClient {
    return careful(this.client);
  }
}

/**
 * A cluster's clients for its nodes are made by node-redis as the application's cluster was set up, queues included: a
 * write that stays in one is refused by the server when its time is over.
 */
class ClusterLink extends NodeRedisLink<NodeRedisCluster> implements RedisLink {
  readonly topology = "cluster";
  #connected = false;

  constructor(like: NodeRedisCluster, silenceMs: number) {
    // One silent node is not the whole cluster: only a long silence of all ends the connections.
    super(like.duplicate(), 8 * silenceMs);
  }

  get ready(): boolean {
    return this.#connected;
  }

  send(key: string, command: Command): Promise<unknown> {
    return this.watched(this.client.sendCommand(key, false, command.map(String)));
  }

  batch(key: string, commands: readonly Command[]): Promise<readonly unknown[]> {
    return settled(commands.map((command) => this.send(key, command)));
  }

  async everywhere(command: Command): Promise<readonly unknown[]> {
    const nodes = await this.#masters();
    return settled(nodes.map((node) => node.sendCommand(command.map(String))));
  }

  async listen(channels: readonly string[], heard: (channel: string) => void): Promise<Listener> {
    return listenOn(await this.#masters(), channels, heard);
  }

  fork(silenceMs: number): RedisLink {
    return new ClusterLink(this.client, silenceMs);
  }

  override renew(): void {
    this.#connected = false;
    super.renew();
  }

  protected override fresh(): NodeRedisCluster {
    return this.client.duplicate();
  }

  protected override announce(client: NodeRedisCluster): void {
    this.#connected = true;
    super.announce(client);
  }

  #masters(): Promise<NodeRedisClient[]> {
    return Promise.all(this.client.masters.map((node) => this.client.nodeClient(node)));
  }
}

/** What must hold whatever the application set: nothing is queued for later, and a lost connection is tried again soon. */
function careful(like: NodeRedisClient): NodeRedisClient {
  return like.duplicate({
    disableOfflineQueue: true,
    commandOptions: {},
    pingInterval: undefined,
    clientSideCache: undefined,
    socket: {
      ...like.options.socket,
      connectTimeout: 1000,
      socketTimeout: undefined,
      reconnectStrategy: (retries: number) => Math.min(25 * (retries + 1), 250),
    },
  });
}

async function settled(asked: readonly Promise<unknown>[]): Promise<readonly unknown[]> {
  const answers = await Promise.allSettled(asked);
  return answers.map((answer) => (answer.status === "fulfilled" ? answer.value : asError(answer.reason)));
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** A client that never connected says so when it is destroyed; that is no news. */
function drop(client: Connectable): void {
  try {
    client.destroy();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
  }
}

/** Each master is asked for every channel and refuses (MOVED) those that are another's. */
async function listenOn(
  masters: readonly NodeRedisClient[],
  channels: readonly string[],
  heard: (channel: string) => void,
): Promise<Listener> {
  const loss = new AbortController();
  const lose = (): void => loss.abort(new Error("The connection of the change feed was lost."));
  const clients = masters.map((master) => {
    const client = master.duplicate({ socket: { ...master.options.socket, reconnectStrategy: false } });
    client.on("error", lose);
    client.on("end", lose);
    client.on("reconnecting", lose);
    return client;
  });
  const close = (): void => {
    for (const client of clients) drop(client);
  };
  try {
    let served = 0;
    for (const client of clients) {
      await client.connect();
      const hear = (_message: string, channel: string): void => heard(channel);
      const answers = await settled(channels.map((channel) => client.sSubscribe(channel, hear)));
      const errors = answers.filter((answer) => answer instanceof Error);
      const fault = errors.find((error) => !error.message.includes("MOVED"));
      if (fault !== undefined) throw fault;
      served += answers.length - errors.length;
    }
    if (served < channels.length)
      throw new Error(`Only ${served} of ${channels.length} channels have a master.`);
  } catch (error) {
    close();
    throw error;
  }
  return {
    lost: loss.signal,
    check: () => Promise.all(clients.map((client) => client.sendCommand(["PING"]))),
    close,
  };
}
