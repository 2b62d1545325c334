import { fork, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { answers, end, freePort, onPath } from "../programs.ts";

/** A running server under measurement. */
export interface Peer {
  readonly name: string;
  readonly port: number;
  /** Whether clients speak SOCKS5 to it; the bare pipe they just connect to. */
  readonly socks: boolean;
  readonly pid: number;
  collectGarbage(): Promise<void>;
  stop(): Promise<void>;
}

export async function startNode(
  kind: "pipe" | "minimal" | "holdfast" | "echo",
  argument = "",
): Promise<Peer> {
  const child = fork(fileURLToPath(new URL("./server.js", import.meta.url)), [kind, argument], {
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
  });
  const { port } = await told(child, "port");
  const collectGarbage = async (): Promise<void> => {
    for (let pass = 0; pass < 3; pass++) {
      const collected = told(child, "collected");
      child.send("gc");
      await collected;
    }
  };
  return {
    name: kind,
    port,
    socks: kind === "holdfast" || kind === "minimal",
    pid: child.pid ?? 0,
    collectGarbage,
    stop: () => end(child),
  };
}

/** `undefined` where it is not installed. */
export async function startMicrosocks(): Promise<Peer | undefined> {
  const path = onPath("microsocks");
  if (path === undefined) return undefined;
  const port = await freePort();
  const child = spawn(path, ["-i", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  return outside("microsocks", child, port);
}

export async function startDanted(): Promise<Peer | undefined> {
  const path = onPath("danted");
  if (path === undefined) return undefined;
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-danted-"));
  const rule = "{ from: 0/0 to: 0/0 }";
  const config = [
    `internal: 127.0.0.1 port = ${port}`,
    "external: 127.0.0.1",
    "socksmethod: none",
    "clientmethod: none",
    `logoutput: ${join(folder, "log")}`,
    `client pass ${rule}`,
    `socks pass ${rule}`,
  ];
  writeFileSync(join(folder, "danted.conf"), `${config.join("\n")}\n`);
  const child = spawn(path, ["-f", join(folder, "danted.conf"), "-p", join(folder, "pid")], {
    stdio: "ignore",
  });
  return outside("danted", child, port, () => rmSync(folder, { recursive: true, force: true }));
}

async function outside(
  name: string,
  child: ChildProcess,
  port: number,
  after = (): void => {},
): Promise<Peer> {
  await listening(port, child);
  const stop = async (): Promise<void> => {
    await end(child);
    after();
  };
  return { name, port, socks: true, pid: child.pid ?? 0, collectGarbage: () => Promise.resolve(), stop };
}

/** CPU seconds, user and system, of a process and all below it, those that have ended included. */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const one of family(pid)) {
    const fields = statOf(one);
    // proc(5): utime, stime, and those of children that were waited for.
    for (const at of [11, 12, 13, 14]) ticks += Number(fields[at] ?? 0);
  }
  return ticks / TICKS_A_SECOND;
}

/** Resident memory in KiB of a process and all below it, shared pages counted once a process. */
export function residentKib(pid: number): number {
  let kib = 0;
  for (const one of family(pid)) {
    const pss = /^Pss:\s+(\d+)/m.exec(read(`/proc/${one}/smaps_rollup`))?.[1];
    kib += Number(pss ?? 0);
  }
  return kib;
}

function family(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statOf(Number(name))[1] ?? 0);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = [root];
  for (let at = 0; at < found.length; at++) found.push(...(children.get(found[at] ?? 0) ?? []));
  return found;
}

/** The fields of /proc/pid/stat from the state on; empty when the process has gone. */
function statOf(pid: number): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function told<Name extends string>(child: ChildProcess, name: Name): Promise<Record<Name, number>> {
  return new Promise((resolve, reject) => {
    const heard = (message: Record<Name, number>): void => {
      if (!(name in message)) return;
      child.off("message", heard);
      child.off("exit", left);
      resolve(message);
    };
    const left = (code: number | null): void => reject(new Error(`the server ended with ${code}`));
    child.on("message", heard);
    child.on("exit", left);
  });
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} before it listened`);
    if (await answers(port)) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not begin to listen");
}

/** sysconf(_SC_CLK_TCK), which is 100 on every Linux that Node runs on. */
const TICKS_A_SECOND = 100;
