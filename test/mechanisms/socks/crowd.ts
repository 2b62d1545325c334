import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import net from "node:net";
import { fileURLToPath } from "node:url";

/** What a crowd of clients cost the server, which runs in a process of its own. */
export interface Crowd {
  /** How many there were: as many as wanted, or as the system lets a process have. */
  readonly count: number;
  /** Of the server's memory, for each. */
  readonly kib: number;
}

/** `idle`: sessions in which nothing happens. `slow`: handshakes that stop after a byte. */
export type Kind = "idle" | "slow";

/** Opens as many as wanted and weighs them. The slow ones have to be closed at their deadline, or it never ends. */
export async function crowd(kind: Kind, wanted: number): Promise<Crowd> {
  const server = start("socks");
  const destination = start("destination");
  try {
    const [{ port, room }, { port: target }] = await Promise.all([
      ask<{ port: number; room: number }>(server),
      ask<{ port: number }>(destination),
    ]);
    const request = Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, target >> 8, target & 255]);
    // Everything that is made only once is made before the first weighing.
    for (const socket of await open(port, 50, request, 12)) socket.destroy();
    const empty = await weigh(server, 0);
    const count = Math.min(wanted, room);
    const sockets =
      kind === "idle" ? await open(port, count, request, 12) : await open(port, count, Buffer.from([5]), 0);
    const full = await weigh(server, count);
    const closed = Promise.all(sockets.map((socket) => new Promise((done) => socket.on("close", done))));
    if (kind === "slow") await ask(server, "pass the deadline");
    else for (const socket of sockets) socket.destroy();
    await closed;
    await weigh(server, 0);
    return { count, kib: (full - empty) / count };
  } finally {
    server.disconnect();
    destination.disconnect();
  }
}

/** With as many files as it may open: each session takes two. */
function start(role: "socks" | "destination"): ChildProcess {
  const raised = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"';
  return fork(fileURLToPath(new URL("./crowd-server.js", import.meta.url)), [role], {
    execPath: "/bin/sh",
    execArgv: ["-c", raised, process.execPath, "--expose-gc"],
  });
}

/** Resident KiB once the server has as many connections as it should. */
async function weigh(server: ChildProcess, connections: number): Promise<number> {
  for (;;) {
    const answer = await ask<{ kib: number; connections: number }>(server, "weigh");
    if (answer.connections === connections) return (await ask<{ kib: number }>(server, "weigh")).kib;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function open(port: number, count: number, say: Buffer, hear: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = [];
  while (sockets.length < count) {
    const batch = Math.min(100, count - sockets.length);
    sockets.push(...(await Promise.all(Array.from({ length: batch }, () => one(port, say, hear)))));
  }
  return sockets;
}

function one(port: number, say: Buffer, hear: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1" });
    let heard = 0;
    socket.on("error", reject);
    socket.once("connect", () => socket.write(say, () => hear === 0 && resolve(socket)));
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.length;
      if (heard >= hear) resolve(socket);
    });
  });
}

function ask<Answer>(server: ChildProcess, question?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const left = (code: number | null): void => reject(new Error(`the server ended with ${code}`));
    server.once("exit", left);
    server.once("message", (answer: Answer) => {
      server.off("exit", left);
      resolve(answer);
    });
    if (question !== undefined) server.send(question);
  });
}
