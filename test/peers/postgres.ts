import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";

/** A PostgreSQL server of our own: its data, socket and port are nobody else's. */
export interface PostgresPeer {
  /** Through its socket. */
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
  };
  /** Through TCP on loopback. */
  readonly url: string;
  /** Of the postmaster. */
  readonly pid: number;
  /** Stops and continues every process of the server, as a machine that hangs does. */
  freeze(): void;
  thaw(): void;
  /** `kill -9` of the whole server, or a clean stop that cuts its clients off. */
  kill(how?: "SIGKILL" | "SIGINT"): Promise<void>;
  /** After `kill`. */
  start(): Promise<void>;
  /** For good: its data goes as well. */
  stop(): Promise<void>;
}

export interface PostgresPeerOptions {
  /** True: writes reach the disk, as they do for users. Tests of logic are faster without. */
  readonly fsync?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Where Debian, and others, put the server; the newest release first. `undefined` when there is none. */
export function postgresBinaries(): string | undefined {
  const releases = existsSync("/usr/lib/postgresql")
    ? readdirSync("/usr/lib/postgresql").sort((a, b) => Number(b) - Number(a))
    : [];
  const folders = [
    ...releases.map((release) => `/usr/lib/postgresql/${release}/bin`),
    ...(process.env["PATH"] ?? "").split(":"),
  ];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
}

export async function startPostgres(options: PostgresPeerOptions = {}): Promise<PostgresPeer> {
  const binaries = postgresBinaries();
  if (binaries === undefined) throw new Error("PostgreSQL is not installed");
  const folder = await mkdtemp(join(tmpdir(), "holdfast-postgres-"));
  const owner = serverUser();
  if (owner !== undefined) chownSync(folder, owner.uid, owner.gid);
  const data = join(folder, "data");
  execFileSync(
    join(binaries, "initdb"),
    ["-D", data, "-U", "holdfast", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
    { ...owner, cwd: folder, stdio: "pipe" },
  );
  const server = new Server(join(binaries, "postgres"), folder, data, await freePort(), owner, options);
  await server.start();
  return server;
}

class Server implements PostgresPeer {
  readonly #binary: string;
  readonly #folder: string;
  readonly #data: string;
  readonly #port: number;
  readonly #owner: Owner | undefined;
  readonly #options: PostgresPeerOptions;
  #child: ChildProcess | undefined;
  #output = "";
  #frozen: number[] = [];

  constructor(
    binary: string,
    folder: string,
    data: string,
    port: number,
    owner: Owner | undefined,
    options: PostgresPeerOptions,
  ) {
    this.#binary = binary;
    this.#folder = folder;
    this.#data = data;
    this.#port = port;
    this.#owner = owner;
    this.#options = options;
    process.once("exit", () => this.#abandon());
  }

  get connection(): PostgresPeer["connection"] {
    return { host: this.#folder, port: this.#port, user: "holdfast", database: "postgres" };
  }

  get url(): string {
    return `postgres://holdfast@127.0.0.1:${this.#port}/postgres`;
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error("the server is not running");
    return pid;
  }

  async start(): Promise<void> {
    const settings = {
      listen_addresses: "127.0.0.1",
      port: String(this.#port),
      unix_socket_directories: this.#folder,
      max_connections: "400",
      shared_buffers: "64MB",
      ...(this.#options.fsync === true ? {} : { fsync: "off", full_page_writes: "off" }),
      ...this.#options.settings,
    };
    const args = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const child = spawn(this.#binary, ["-D", this.#data, ...args], {
      ...this.#owner,
      cwd: this.#folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (text) => (this.#output = (this.#output + String(text)).slice(-20_000)));
    }
    await this.#answering(child);
  }

  freeze(): void {
    // The postmaster first, so that no new process comes while the others are found.
    process.kill(this.pid, "SIGSTOP");
    this.#frozen = childrenOf(this.pid);
    for (const pid of this.#frozen) process.kill(pid, "SIGSTOP");
  }

  thaw(): void {
    for (const pid of [...this.#frozen, this.pid]) {
      try {
        process.kill(pid, "SIGCONT");
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    this.#frozen = [];
  }

  async kill(how: "SIGKILL" | "SIGINT" = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    if (this.#frozen.length > 0) this.thaw();
    const children = how === "SIGKILL" ? childrenOf(this.pid) : [];
    for (const pid of [this.pid, ...children]) {
      try {
        process.kill(pid, how);
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    await exited;
    this.#child = undefined;
    while (children.some(isRunning)) await pause();
  }

  async stop(): Promise<void> {
    await this.kill("SIGINT");
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** Until it answers, and says that its data is ours. */
  async #answering(child: ChildProcess): Promise<void> {
    const giveUp = Date.now() + 60_000;
    for (;;) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`PostgreSQL ended at once:\n${this.#output}`);
      }
      const client = new pg.Client(this.connection);
      client.on("error", () => undefined);
      try {
        await client.connect();
        const { rows } = await client.query<{ data: string }>(
          "select current_setting('data_directory') as data",
        );
        if (rows[0]?.data !== this.#data) throw new Error("another server answers on our socket");
        return;
      } catch (error) {
        if (Date.now() > giveUp)
          throw new Error(`PostgreSQL does not answer:\n${this.#output}`, { cause: error });
        await pause();
      } finally {
        await client.end().catch(() => undefined);
      }
    }
  }

  /** The tests have ended without a word: nothing may stay behind. */
  #abandon(): void {
    const pid = this.#child?.pid;
    if (pid === undefined || this.#child?.exitCode !== null || this.#child.signalCode !== null) return;
    for (const each of [...childrenOf(pid), pid]) {
      try {
        process.kill(each, "SIGKILL");
      } catch (error) {
        if (!isGone(error)) throw error;
      }
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** PostgreSQL refuses to run as root; then it runs as the user that its package made. */
function serverUser(): Owner | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith("postgres:"));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined) throw new Error("as root, the user `postgres` is needed");
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return address.port;
}

function childrenOf(parent: number): number[] {
  const children: number[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat?.parent === parent) children.push(Number(name));
  }
  return children;
}

function isRunning(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== "Z";
}

function statOf(pid: number): { state: string; parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", parent = ""] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    // It has just ended.
    return undefined;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ESRCH";
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}
