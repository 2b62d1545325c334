import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import type { MemberOptions, Order } from "./member.ts";

/** A process of member.ts. */
export class Member {
  readonly node: string;
  readonly #child: ChildProcess;
  readonly #port: number;
  readonly #waiting = new Map<number, { resolve: (answer: unknown) => void; reject: (why: Error) => void }>();
  #orders = 0;

  private constructor(node: string, child: ChildProcess, port: number) {
    this.node = node;
    this.#child = child;
    this.#port = port;
    child.on("message", (message: { id: number; answer?: unknown; error?: string }) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error === undefined) waiting?.resolve(message.answer);
      else waiting?.reject(new Error(message.error));
    });
  }

  static async start(options: MemberOptions): Promise<Member> {
    const child = fork(fileURLToPath(new URL("./member.js", import.meta.url)), [JSON.stringify(options)]);
    running.add(child);
    child.once("exit", () => running.delete(child));
    const died = once(child, "exit").then(() => Promise.reject(new Error(`${options.node} ended at once`)));
    const [{ port }] = (await Promise.race([once(child, "message"), died])) as [{ port: number }];
    died.catch(() => undefined);
    return new Member(options.node, child, port);
  }

  ask<Answer>(order: Order): Promise<Answer> {
    const id = this.#orders++;
    return new Promise<Answer>((resolve, reject) => {
      // Of use only where something is broken: then the test says so, and stops what it has started.
      const never = setTimeout(() => reject(new Error(`${this.node} did not answer to ${order.do}`)), 60_000);
      const settled =
        <T>(act: (value: T) => void) =>
        (value: T) => {
          clearTimeout(never);
          act(value);
        };
      this.#waiting.set(id, {
        resolve: settled(resolve as (answer: unknown) => void),
        reject: settled(reject),
      });
      this.#child.send({ id, order });
    });
  }

  open(
    principal: string,
    more: { mechanism?: string; resumableMs?: number; parent?: string } = {},
  ): Promise<Connection> {
    const { mechanism = "relay", resumableMs = "-", parent = "-" } = more;
    return Connection.open(this.#port, `${principal} ${mechanism} ${resumableMs} ${parent}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }
}

/** A client's side of one session. */
export class Connection {
  readonly handle: string;
  /** Resolves when the other side has closed it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;

  private constructor(socket: Socket, handle: string, lines: AsyncIterator<string>) {
    this.#socket = socket;
    this.handle = handle;
    this.#lines = lines;
    this.closed = socket.destroyed
      ? Promise.resolve()
      : new Promise((resolve) => socket.once("close", () => resolve()));
  }

  /** @throws Error with what the member said, when it refuses. */
  static async open(port: number, request: string): Promise<Connection> {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => socket.destroy());
    socket.write(`${request}\n`);
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const first = await lines.next();
    const [word, handle] = String(first.value ?? "").split(" ");
    if (word !== "opened" || handle === undefined) throw new Error(String(first.value));
    return new Connection(socket, handle, lines);
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed;
  }

  async echo(text: string): Promise<string> {
    this.#socket.write(`${text}\n`);
    return String((await this.#lines.next()).value);
  }

  drop(): void {
    this.#socket.destroy();
  }
}

/** A wire to a server that can go dead without a word: nothing passes any more, and nothing is closed. */
export class Wire {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets: Set<Socket>;

  private constructor(server: Server, sockets: Set<Socket>, port: number) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = port;
  }

  static async to(port: number): Promise<Wire> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
      if (wire.dead) for (const one of [near, far]) one.pause();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const wire = new Wire(
      server,
      sockets,
      typeof address === "object" && address !== null ? address.port : 0,
    );
    return wire;
  }

  dead = false;

  cut(): void {
    this.dead = true;
    for (const socket of this.#sockets) {
      socket.unpipe();
      socket.pause();
    }
  }

  /** What was on the wire is lost; new connections pass. */
  mend(): void {
    this.dead = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** What is still running when the test process ends goes with it. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export async function until(what: string, probe: () => boolean | Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await probe())) {
    if (Date.now() > giveUp) throw new Error(`waited a minute for ${what}`);
    await pause();
  }
}

export function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}
