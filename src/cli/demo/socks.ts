import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import type { SocksServer } from "../../mechanisms/socks/index.ts";
import { createSocks, dial } from "../../mechanisms/socks/index.ts";
import type { Echo } from "./echo.ts";
import { startEcho } from "./echo.ts";
import type { Part, PartKind, Person, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

/** A proxy through which people reach one small service, which goes by several names. */
export const socks: PartKind = async (stage) => {
  const echo = await startEcho();
  const password = randomBytes(16).toString("hex");
  const server = createSocks({
    kernel: stage.kernel,
    authenticate: (who) =>
      who.method === "password" && who.password === password ? { principal: who.username } : undefined,
    rules: [{ action: "allow", commands: ["connect"], addresses: ["loopback"], ports: [echo.port] }],
    // Names that nobody owns (RFC 2606), so that nothing is asked of a name server.
    resolve: (name) => Promise.resolve(NAMES.includes(name) ? ["127.0.0.1"] : []),
    onFault: stage.onFault,
  });
  try {
    const { port } = await server.listen();
    return new SocksPart(stage, { echo, server, port, password });
  } catch (error) {
    await echo.close();
    throw error;
  }
};

interface Place {
  readonly echo: Echo;
  readonly server: SocksServer;
  readonly port: number;
  readonly password: string;
}

class SocksPart implements Part {
  readonly mechanism = "socks";
  readonly #people: readonly Person[];
  readonly #place: Place;
  readonly #sockets = new Set<Socket>();

  constructor({ people }: Stage, place: Place) {
    this.#people = people;
    this.#place = place;
  }

  async step(): Promise<void> {
    const most = Math.max(2, Math.ceil(this.#people.length / 2));
    if (this.#sockets.size < most && (this.#sockets.size === 0 || chance(0.25))) return this.#connect();
    const socket = pick([...this.#sockets]);
    if (chance(0.12)) socket.end();
    else socket.write(randomBytes(200 + Math.floor(Math.random() * 8_000)));
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await this.#place.server.close();
    await this.#place.echo.close();
  }

  async #connect(): Promise<void> {
    const { port, password, echo } = this.#place;
    const username = pick(this.#people).name;
    const proxy = { protocol: "socks5", host: "127.0.0.1", port, username, password } as const;
    // One in ten asks for what the rules forbid.
    const host = chance(0.1) ? "192.0.2.80" : pick(NAMES);
    const { socket } = await dial({ proxy, host, port: echo.port, timeoutMs: 10_000 });
    this.#sockets.add(socket);
    socket.resume();
    // A revoke resets it; the session tells of that.
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}

const NAMES: readonly string[] = ["mail.example", "build.example", "files.example", "chat.example"];
