import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";

/** Why Redis cannot be used here; `undefined` when it can. In CI it must be there. */
export function redisMissing(): string | undefined {
  const found = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
  if (found.status === 0) return undefined;
  if (process.env["CI"] === "true") throw new Error("redis-server is not installed, and CI must have it");
  return "redis-server is not installed";
}

/** A redis-server of our own: on a socket in a folder of its own, and on a free port of the loopback. */
export interface RedisServer {
  /** Path of its Unix socket. */
  readonly path: string;
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** A plain client, closed with the server. */
  readonly client: Redis;
  /** Sends it a signal: SIGSTOP makes it hang, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void;
  /** Ends it at once; its folder stays, so that `start` finds what it had persisted. */
  kill(): Promise<void>;
  /** Starts it again, on the same socket and port. */
  start(): Promise<void>;
  /** Ends it and takes its folder away. */
  stop(): Promise<void>;
}

/** Starts a server that keeps nothing on disk unless `settings` say so: lines of redis.conf as name and value. */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-redis-"));
  const server = new Server(folder, await freePort(), settings);
  await server.start();
  return server;
}

export interface RedisCluster {
  readonly servers: readonly RedisServer[];
  /** Where to begin: addresses of all three masters. */
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  /** Empties all nodes. */
  flush(): Promise<void>;
  stop(): Promise<void>;
}

/** Three masters on the loopback with the slots shared out among them. */
export async function startRedisCluster(
  settings: Readonly<Record<string, string>> = {},
): Promise<RedisCluster> {
  const servers = await Promise.all(
    [0, 1, 2].map(() =>
      startRedis({
        "cluster-enabled": "yes",
        "cluster-node-timeout": "5000",
        "cluster-require-full-coverage": "no",
        ...settings,
      }),
    ),
  );
  const [first] = servers;
  if (first === undefined) throw new Error("a cluster has nodes");
  await Promise.all(
    servers.map(async ({ client }, i) => {
      await client.call("CLUSTER", "SET-CONFIG-EPOCH", i + 1);
      await client.call(
        "CLUSTER",
        "ADDSLOTSRANGE",
        Math.ceil((i * 16384) / 3),
        Math.ceil(((i + 1) * 16384) / 3) - 1,
      );
    }),
  );
  for (const { client, port } of servers.slice(1)) {
    await client.call("CLUSTER", "MEET", "127.0.0.1", first.port, first.port + 10_000);
    await until(
      `node ${port} to join`,
      async () => String(await client.call("CLUSTER", "INFO")).includes("cluster_known_nodes:1") === false,
    );
  }
  for (const { client } of servers) {
    await until("the cluster to agree", async () => {
      const info = String(await client.call("CLUSTER", "INFO"));
      return (
        info.includes("cluster_state:ok") &&
        info.includes("cluster_slots_assigned:16384") &&
        info.includes("cluster_known_nodes:3")
      );
    });
  }
  return {
    servers,
    nodes: servers.map(({ port }) => ({ host: "127.0.0.1", port })),
    flush: async () => void (await Promise.all(servers.map(({ client }) => client.flushall()))),
    stop: async () => void (await Promise.all(servers.map((server) => server.stop()))),
  };
}

class Server implements RedisServer {
  readonly path: string;
  readonly port: number;
  readonly client: Redis;
  readonly #folder: string;
  readonly #settings: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;

  constructor(folder: string, port: number, settings: Readonly<Record<string, string>>) {
    this.#folder = folder;
    this.#settings = settings;
    this.path = join(folder, "redis.sock");
    this.port = port;
    this.client = new Redis({
      path: this.path,
      lazyConnect: true,
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
    });
    this.client.on("error", () => undefined);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("this redis-server is not running");
    return pid;
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async start(): Promise<void> {
    const settings = { save: "", appendonly: "no", ...this.#settings };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    const own = [
      "--port",
      String(this.port),
      "--bind",
      "127.0.0.1",
      "--unixsocket",
      this.path,
      "--dir",
      this.#folder,
    ];
    const child = spawn("redis-server", [...own, ...args, "--daemonize", "no"], { stdio: "ignore" });
    this.#child = child;
    running.add(child);
    child.once("exit", () => running.delete(child));
    await until("redis-server to answer", async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended with ${child.exitCode}`);
      if (this.client.status === "wait" || this.client.status === "end")
        await this.client.connect().catch(() => undefined);
      return this.client.status === "ready";
    });
    await this.#proveOurs();
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
    this.#child = undefined;
  }

  async stop(): Promise<void> {
    this.client.disconnect();
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** What answers on the socket and on the port is the process that was started, and works in our folder. */
  async #proveOurs(): Promise<void> {
    const overPort = new Redis(this.port, "127.0.0.1");
    try {
      for (const client of [this.client, overPort]) {
        const [, folder] = (await client.config("GET", "dir")) as [string, string];
        const pid = /^process_id:(\d+)/m.exec(await client.info("server"))?.[1];
        if (Number(pid) !== this.pid || folder !== this.#folder) {
          throw new Error(`port ${this.port} is answered by another Redis (process ${pid} in ${folder})`);
        }
      }
    } finally {
      overPort.disconnect();
    }
  }
}

/** What is still running when the test process ends goes with it. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

async function until(what: string, probe: () => Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await probe())) {
    if (Date.now() > giveUp) throw new Error(`waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A port that is free, and whose cluster bus port (10,000 higher) is one too. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await portOf(0);
    if (port >= 55_000) continue;
    const bus = await portOf(port + 10_000).catch(() => undefined);
    if (bus !== undefined) return port;
  }
}

function portOf(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(wanted, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
