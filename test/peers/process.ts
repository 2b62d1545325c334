import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, which must come within half a minute. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly input?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, PATH: PATHS, ...options.env } });
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk: Buffer) => (stderr += String(chunk)));
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr });
    });
    // It may have ended without reading what it was given.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input);
  });
}

/** Whether a program is there; when it is not, the test is skipped by its name, except where CI must have it. */
export function installed(t: TestContext, command: string, probe: readonly string[] = []): boolean {
  const found =
    probe.length === 0 ? spawnSync("which", [command], { env: { PATH: PATHS } }) : spawnSync(command, probe);
  if (found.status === 0) return true;
  const missing = `${command} is not installed (script/peers.txt names its package)`;
  if (process.env["CI"] === "true") throw new Error(missing);
  t.skip(missing);
  return false;
}

/** A folder that is gone when the test is over. */
export function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), "holdfast-interop-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A server in a process of its own that is ended with the test; resolves once it listens. */
export async function serverProcess(
  t: TestContext,
  command: string,
  args: readonly string[],
  port: number,
): Promise<ChildProcess> {
  const child = spawn(command, args, {
    env: { ...process.env, PATH: PATHS },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (said += String(chunk)));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  t.after(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const deadline = Date.now() + 30_000;
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`${command} ended with ${child.exitCode}: ${said}`);
    if (Date.now() > deadline) throw new Error(`${command} did not begin to listen: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return child;
}

/** A port that was free a moment ago, for servers that cannot choose one themselves. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const at = server.address();
      server.close(() =>
        at === null || typeof at === "string" ? reject(new Error("no port")) : resolve(at.port),
      );
    });
  });
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Servers live in sbin, which is not on everybody's path. */
const PATHS = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
