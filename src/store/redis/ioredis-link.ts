import type { ClusterNode, ClusterOptions, RedisOptions } from "ioredis";
import { Cluster, Redis } from "ioredis";

import type { Command, Listener, RedisLink } from "./link.ts";

/** The part of an ioredis client that is used: single node and Sentinel. */
export interface IoredisClient {
  readonly status: string;
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  pipeline(commands?: unknown[][]): { exec(): Promise<[Error | null, unknown][] | null> };
  ssubscribe(...channels: string[]): Promise<unknown>;
  duplicate(options?: RedisOptions): IoredisClient;
  on(event: string, listener: (...args: string[]) => void): unknown;
  disconnect(reconnect?: boolean): void;
}

/** The part of an ioredis cluster client that is used. */
export interface IoredisCluster {
  readonly isCluster: boolean;
  readonly status: string;
  readonly options: ClusterOptions;
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  pipeline(commands?: unknown[][]): { exec(): Promise<[Error | null, unknown][] | null> };
  nodes(role: "master"): IoredisClient[];
  duplicate(nodes?: ClusterNode[], options?: ClusterOptions): IoredisCluster;
  refreshSlotsCache(): void;
  on(event: string, listener: (...args: string[]) => void): unknown;
  disconnect(reconnect?: boolean): void;
}

export function connectSingle(options: RedisOptions, silenceMs: number): RedisLink {
  return new SingleLink(new Redis({ ...options, ...careful(silenceMs) }));
}

export function connectUrl(url: string, silenceMs: number): RedisLink {
  return new SingleLink(new Redis(url, careful(silenceMs)));
}

export function connectCluster(nodes: ClusterNode[], options: ClusterOptions, silenceMs: number): RedisLink {
  return new ClusterLink(new Cluster(nodes, carefulCluster(options, silenceMs)));
}

/** A link like a client that the application made: same place, same credentials, connections of its own. */
export function likeIoredis(client: IoredisClient | IoredisCluster, silenceMs: number): RedisLink {
  return isCluster(client)
    ? new ClusterLink(client.duplicate([], carefulCluster(client.options, silenceMs)))
    : new SingleLink(client.duplicate(careful(silenceMs)));
}

function isCluster(client: IoredisClient | IoredisCluster): client is IoredisCluster {
  return "nodes" in client;
}

/**
 * What must hold whatever the application set: nothing is queued for later, nothing is sent twice, a socket that stays
 * silent with a command under way is given up, and a lost connection is tried again at once, then every 250 ms.
 */
function careful(silenceMs: number): CarefulOptions {
  return {
    replyMapping: "legacy",
    lazyConnect: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableAutoPipelining: false,
    enableReadyCheck: true,
    maxLoadingRetryTime: 200,
    commandTimeout: undefined,
    socketTimeout: silenceMs,
    connectTimeout: Math.max(1000, 2 * silenceMs),
    retryStrategy: (times) => Math.min(25 * times, 250),
    reconnectOnError: null,
    keyPrefix: "",
    readOnly: false,
    stringNumbers: false,
  };
}

/** ioredis types its clients by this option. */
type CarefulOptions = RedisOptions & { readonly replyMapping: "legacy" };
type CarefulClusterOptions = ClusterOptions & { readonly redisOptions: Omit<CarefulOptions, NotForNodes> };
type NotForNodes =
  | "port"
  | "host"
  | "path"
  | "sentinels"
  | "retryStrategy"
  | "enableOfflineQueue"
  | "readOnly"
  | "himportFieldsets";

function carefulCluster(options: ClusterOptions, silenceMs: number): CarefulClusterOptions {
  const { retryStrategy, enableOfflineQueue: _queue, readOnly: _readOnly, ...node } = careful(silenceMs);
  return {
    ...options,
    lazyConnect: false,
    // A node is connected to with the first command for it, and those that come meanwhile must wait for that. One that
    // waits too long is refused by the server; a connection that cannot be made gives all of them back.
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    scaleReads: "master",
    keyPrefix: "",
    maxRedirections: 8,
    // A command whose connection was lost may have been carried out: it is never sent again.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 50,
    retryDelayOnTryAgain: 20,
    slotsRefreshInterval: 2000,
    clusterRetryStrategy: (times) => Math.min(25 * times, 250),
    clusterNodeRetryStrategy: retryStrategy,
    redisOptions: { ...options.redisOptions, ...node },
  };
}

abstract class IoredisLink<Client extends IoredisClient | IoredisCluster> {
  protected readonly client: Client;

  constructor(client: Client) {
    this.client = client;
    // What goes wrong is told to whoever asked for something; without a listener ioredis writes to the console.
    client.on("error", () => undefined);
  }

  get ready(): boolean {
    return this.client.status === "ready";
  }

  onReady(run: () => void): void {
    this.client.on("ready", run);
  }

  send(_key: string, [name, ...args]: Command): Promise<unknown> {
    return this.client.call(name, ...args);
  }

  async batch(_key: string, commands: readonly Command[]): Promise<readonly unknown[]> {
    const pipeline = this.client.pipeline(commands.map((command) => ["call", ...command]));
    const answers = (await pipeline.exec()) ?? [];
    return answers.map(([error, answer]) => error ?? answer);
  }

  close(): void {
    this.client.disconnect();
  }
}

class SingleLink extends IoredisLink<IoredisClient> implements RedisLink {
  readonly topology = "single";

  everywhere(command: Command): Promise<readonly unknown[]> {
    return this.batch("", [command]);
  }

  listen(channels: readonly string[], heard: (channel: string) => void): Promise<Listener> {
    return listenOn([this.client], channels, heard);
  }

  fork(silenceMs: number): RedisLink {
    return new SingleLink(this.client.duplicate(careful(silenceMs)));
  }

  renew(): void {
    this.client.disconnect(true);
  }
}

class ClusterLink extends IoredisLink<IoredisCluster> implements RedisLink {
  readonly topology = "cluster";

  override async send(key: string, command: Command): Promise<unknown> {
    try {
      return await super.send(key, command);
    } catch (error) {
      // The node may be gone for good and another one in its place: look, rather than wait for the next turn.
      if (error instanceof Error && error.name !== "ReplyError") this.client.refreshSlotsCache();
      throw error;
    }
  }

  everywhere(command: Command): Promise<readonly unknown[]> {
    const [name, ...args] = command;
    const asked = this.client.nodes("master").map((node) => node.call(name, ...args));
    return Promise.all(asked.map((answer) => answer.catch(asError)));
  }

  listen(channels: readonly string[], heard: (channel: string) => void): Promise<Listener> {
    return listenOn(this.client.nodes("master"), channels, heard);
  }

  fork(silenceMs: number): RedisLink {
    return new ClusterLink(this.client.duplicate([], carefulCluster(this.client.options, silenceMs)));
  }

  renew(): void {
    this.client.refreshSlotsCache();
  }
}

/** Each master is asked for every channel and refuses (MOVED) those that are another's. */
async function listenOn(
  masters: readonly IoredisClient[],
  channels: readonly string[],
  heard: (channel: string) => void,
): Promise<Listener> {
  const loss = new AbortController();
  const clients = masters.map((master) => {
    const client = master.duplicate({ retryStrategy: null, enableOfflineQueue: true, lazyConnect: false });
    client.on("error", () => undefined);
    client.on("smessage", heard);
    for (const event of ["close", "end"]) {
      client.on(event, () => loss.abort(new Error("The connection of the change feed was lost.")));
    }
    return client;
  });
  const close = (): void => {
    for (const client of clients) client.disconnect();
  };
  try {
    const answers = await Promise.all(clients.map((client) => subscribe(client, channels)));
    const covered = answers.reduce((sum, count) => sum + count, 0);
    if (covered < channels.length)
      throw new Error(`Only ${covered} of ${channels.length} channels have a master.`);
  } catch (error) {
    close();
    throw error;
  }
  return { lost: loss.signal, check: () => Promise.all(clients.map((client) => client.call("PING"))), close };
}

/** How many of the channels the node serves. */
async function subscribe(client: IoredisClient, channels: readonly string[]): Promise<number> {
  const answers = await Promise.allSettled(channels.map((channel) => client.ssubscribe(channel)));
  let served = 0;
  for (const answer of answers) {
    if (answer.status === "fulfilled") served++;
    else if (!String(answer.reason).includes("MOVED")) throw answer.reason;
  }
  return served;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
