import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A Samba server of our own: private port, configuration, directories and process. */
export interface Samba {
  readonly port: number;
  readonly directory: string;
  /** What the share `share` holds, on disk. */
  readonly share: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/** The first of `commands` that is not installed, or `undefined`. In CI that fails instead. */
export function missing(...commands: readonly string[]): string | undefined {
  const absent = commands.find((command) => spawnSync("sh", ["-c", `command -v ${command}`]).status !== 0);
  if (absent !== undefined && process.env["CI"] === "true") throw new Error(`${absent} is not installed`);
  return absent;
}

export interface SambaOptions {
  readonly netbiosName?: string;
  /** The network namespace it runs in; this process's own by default. */
  readonly namespace?: string;
  /** 127.0.0.1 by default. */
  readonly address?: string;
}

export async function startSamba(options: SambaOptions = {}): Promise<Samba> {
  const directory = mkdtempSync(join(tmpdir(), "holdfast-samba-"));
  const port = await freePort();
  const share = join(directory, "share");
  for (const part of ["share", "private", "lock", "state", "cache", "pid", "ncalrpc", "log"])
    mkdirSync(join(directory, part));
  const config = join(directory, "smb.conf");
  writeFileSync(config, configuration(directory, port, options));
  const flags = ["--foreground", "--no-process-group", "--configfile", config, "--log-basename"];
  const [command, args] = inside(options.namespace, "smbd", ...flags, join(directory, "log"));
  // On SIGTERM it ends its whole process group, which therefore must not be ours.
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const said: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => said.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  await reachable(port, child, said, options.namespace);
  return {
    port,
    directory,
    share,
    pid: child.pid ?? 0,
    async stop() {
      await stopChild(child);
      // Its helpers end a moment after it and still write; a synchronous removal would spin on what they add.
      await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** A command line that runs `program` in a network namespace. */
export function inside(
  namespace: string | undefined,
  program: string,
  ...args: readonly string[]
): [string, string[]] {
  return namespace === undefined
    ? [program, [...args]]
    : ["ip", ["netns", "exec", namespace, program, ...args]];
}

/** Ends one child and waits for it. */
export async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
  await exited;
  clearTimeout(timer);
}

export interface Ran {
  readonly status: number | null;
  /** Both streams, in the order they came. */
  readonly output: string;
}

/** Runs a program to its end without blocking this process, which may be the server it talks to. */
export async function run(
  command: string,
  args: readonly string[],
  options: { readonly timeoutMs?: number; readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
  });
  const said: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => said.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk));
  const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
  const [status] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { status, output: Buffer.concat(said).toString("utf8") };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Waits until it listens, also where this process could not connect to it. */
async function reachable(
  port: number,
  child: ChildProcess,
  said: readonly Buffer[],
  namespace: string | undefined,
): Promise<void> {
  const [command, args] = inside(namespace, "ss", "-Hltn", `sport = :${port}`);
  for (let attempt = 0; attempt < 300; attempt++) {
    if (child.exitCode !== null) throw new Error(`smbd ended: ${Buffer.concat(said).toString("utf8")}`);
    if ((await run(command, args)).output.includes(`:${port}`)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  child.kill("SIGKILL");
  throw new Error(`smbd does not listen: ${Buffer.concat(said).toString("utf8")}`);
}

function configuration(directory: string, port: number, options: SambaOptions): string {
  return [
    "[global]",
    "workgroup = LABGRP",
    `netbios name = ${options.netbiosName ?? "BACKEND1"}`,
    "server role = standalone server",
    `smb ports = ${port}`,
    `interfaces = ${options.address ?? "127.0.0.1"}`,
    "bind interfaces only = yes",
    "disable netbios = yes",
    `private dir = ${directory}/private`,
    `lock directory = ${directory}/lock`,
    `state directory = ${directory}/state`,
    `cache directory = ${directory}/cache`,
    `pid directory = ${directory}/pid`,
    `ncalrpc dir = ${directory}/ncalrpc`,
    "map to guest = Bad User",
    "guest account = root",
    "server min protocol = NT1",
    "load printers = no",
    "printing = bsd",
    "printcap name = /dev/null",
    "disable spoolss = yes",
    "[share]",
    `path = ${directory}/share`,
    "guest ok = yes",
    "read only = no",
    "force user = root",
    "",
  ].join("\n");
}
