import { randomBytes } from "node:crypto";
import type { AddressInfo, Server } from "node:net";
import type { TLSSocket } from "node:tls";
import { connect, createServer } from "node:tls";
import type { Handle } from "../../kernel/index.ts";
import type { TlsSessions } from "../../mechanisms/tls/index.ts";
import { tlsSessions } from "../../mechanisms/tls/index.ts";
import { listenOn } from "../../transport/listen.ts";
import type { Identity } from "./certificate.ts";
import { certify } from "./certificate.ts";
import type { Part, PartKind, Stage } from "./part.ts";
import { chance, pick } from "./part.ts";

/** People's devices, each known by its certificate, that come back to one of two servers and resume there. */
export const tls: PartKind = async (stage) => {
  const authority = certify("Demo authority");
  const sessions = tlsSessions({
    kernel: stage.kernel,
    cluster: "demo",
    secret: randomBytes(32),
    principal: (socket) => nameOf(socket),
    onFault: stage.onFault,
  });
  const part = new TlsPart(stage, sessions, authority);
  try {
    // Two, so that a session goes on at another server than the one it began on.
    await part.listen();
    await part.listen();
    return part;
  } catch (error) {
    await part.close();
    throw error;
  }
};

class TlsPart implements Part {
  readonly mechanism = "tls";
  readonly #stage: Stage;
  readonly #sessions: TlsSessions;
  readonly #authority: Identity;
  readonly #servers: Server[] = [];
  readonly #devices: readonly Device[];
  readonly #live = new Set<Handle>();
  readonly #stop: () => void;

  constructor(stage: Stage, sessions: TlsSessions, authority: Identity) {
    this.#stage = stage;
    this.#sessions = sessions;
    this.#authority = authority;
    this.#devices = stage.people.map(({ name }) => new Device(certify(name, authority), authority.cert));
    const { kernel } = stage;
    // A session outlives its connections, so it is noted by what the journal says of it.
    this.#stop = kernel.onEntry(({ handle, event, mechanism, node }) => {
      if (handle === undefined || mechanism !== "tls") return;
      if (event === "end") this.#live.delete(handle);
      if (event === "establish" && node === kernel.node) this.#live.add(handle);
    });
  }

  async listen(): Promise<void> {
    const { cert, key } = certify("localhost", this.#authority);
    const { cert: ca } = this.#authority;
    const options = this.#sessions.serverOptions({ cert, key, ca, requestCert: true });
    const server = createServer(options, (socket) => {
      // Whoever breaks off is what the demo's sessions tell of.
      socket.on("error", () => socket.destroy());
      socket.pipe(socket);
    });
    this.#sessions.attach(server, { ca });
    this.#servers.push(server);
    await listenOn(server);
  }

  async step(): Promise<void> {
    const open = this.#devices.filter((device) => device.isConnected);
    const most = Math.max(2, Math.ceil(this.#devices.length / 3));
    if (open.length === 0 || (open.length < most && chance(0.5))) {
      const away = this.#devices.filter((device) => !device.isConnected);
      return pick(away.length === 0 ? this.#devices : away).connect(portOf(pick(this.#servers)));
    }
    const device = pick(open);
    if (chance(0.4)) device.leave();
    else device.say(randomBytes(100 + Math.floor(Math.random() * 2_000)));
  }

  async close(): Promise<void> {
    for (const device of this.#devices) device.drop();
    await Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => void server.close(() => resolve()))),
    );
    this.#sessions.close();
    this.#stop();
    const { kernel } = this.#stage;
    await Promise.all(
      [...this.#live].map((handle) => kernel.end(handle, { reason: "finished", by: kernel.node })),
    );
  }
}

/** Keeps the session it was given last, as a browser does. */
class Device {
  readonly #identity: Identity;
  readonly #authority: string;
  #session: Buffer | undefined;
  #socket: TLSSocket | undefined;

  constructor(identity: Identity, authority: string) {
    this.#identity = identity;
    this.#authority = authority;
  }

  get isConnected(): boolean {
    return this.#socket !== undefined;
  }

  connect(port: number): Promise<void> {
    const { cert, key } = this.#identity;
    return new Promise((resolve, reject) => {
      const socket = connect({
        host: "127.0.0.1",
        port,
        servername: "localhost",
        ca: this.#authority,
        cert,
        key,
        ...(this.#session !== undefined && { session: this.#session }),
      });
      socket.on("session", (session: Buffer) => (this.#session = session));
      socket.once("secureConnect", () => {
        this.#socket = socket;
        resolve();
      });
      socket.once("error", reject);
      // A revoke closes it, and its next handshake is a full one.
      socket.on("error", () => socket.destroy());
      socket.once("close", () => {
        if (this.#socket === socket) this.#socket = undefined;
        resolve();
      });
      socket.resume();
    });
  }

  say(bytes: Buffer): void {
    this.#socket?.write(bytes);
  }

  leave(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  drop(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }
}

function nameOf(socket: TLSSocket): string | undefined {
  const name = socket.getPeerCertificate().subject?.CN;
  return typeof name === "string" ? name : undefined;
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}
