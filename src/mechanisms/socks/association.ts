import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket } from "node:dgram";
import { isFault } from "../../wire/index.ts";
import { parseAddress, plainAddress } from "./address.ts";
import type { Endpoint } from "./codec.ts";
import { decodeDatagram, encodeDatagram } from "./codec.ts";
import { isUnspecified } from "./listening.ts";
import type { Settings } from "./options.ts";
import { permitted } from "./outgoing.ts";
import type { Question } from "./rules.ts";

export interface AssociationOptions {
  readonly settings: Settings;
  readonly principal: string | undefined;
  /** The client's address on its TCP connection: the only one that may send. */
  readonly client: string;
  /** Our address on that connection: what we listen on. */
  readonly clientSide: string;
  /** What the client said it would send from; its host may be 0.0.0.0, its port 0. */
  readonly announced: Endpoint;
  /** A datagram went through; `false` when no more may. */
  readonly onTraffic: () => boolean;
}

/** RFC 1928 §7 UDP ASSOCIATE: one port for the client, another for the destinations. It stands until closed. */
export class Association {
  readonly #options: AssociationOptions;
  readonly #inner: Socket;
  /** Towards destinations, one for each address family, made when first needed. */
  readonly #outer = new Map<"udp4" | "udp6", Promise<Socket>>();
  /** Addresses that were sent to: only they may answer. The oldest gives way. */
  readonly #spokenTo = new Set<string>();
  readonly #resolved = new Map<
    string,
    { readonly hosts: Promise<readonly string[]>; readonly until: number }
  >();
  #clientPort: number | undefined;
  #waiting = 0;
  #closed = false;
  /** Bytes of payload, without headers. */
  up = 0;
  down = 0;
  /** Datagrams not passed on: malformed, fragments, from strangers, or not allowed. */
  dropped = 0;

  private constructor(options: AssociationOptions, inner: Socket) {
    this.#options = options;
    this.#inner = inner;
    const { announced, client } = options;
    // RFC 1928 §7 lets us hold the client to what it announced. With another address than the one it connects from (or
    // 0.0.0.0, which PySocks sends) the port is as good as a guess, so the first datagram decides.
    if (announced.port !== 0 && announced.host === client) this.#clientPort = announced.port;
    inner.on("message", (message, from) => this.#fromClient(message, from));
    inner.on("error", settingsFault(options));
  }

  static async open(options: AssociationOptions): Promise<Association> {
    const inner = createSocket(familyOf(options.clientSide));
    await bound(inner, options.clientSide);
    return new Association(options, inner);
  }

  /** Where the client has to send to. */
  get bound(): Endpoint {
    const { address, port } = this.#inner.address();
    return { host: plainAddress(address), port };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#inner.close();
    for (const opening of this.#outer.values()) {
      await opening.then(
        (socket) => socket.close(),
        () => undefined,
      );
    }
  }

  #fromClient(message: Buffer, from: RemoteInfo): void {
    if (
      plainAddress(from.address) !== this.#options.client ||
      (this.#clientPort ?? from.port) !== from.port
    ) {
      this.dropped++;
      return;
    }
    const datagram = decodeDatagram(message);
    // RFC 1928 §7: an implementation that does not support fragmentation MUST drop any datagram whose FRAG is not 0.
    if (isFault(datagram) || datagram.fragment !== 0) {
      this.dropped++;
      return;
    }
    this.#clientPort = from.port;
    // While a name is being resolved its datagrams wait, but only so many.
    if (this.#waiting >= WAITING) {
      this.dropped++;
      return;
    }
    this.#waiting++;
    this.#forward(datagram.endpoint, datagram.payload)
      .catch(settingsFault(this.#options))
      .finally(() => this.#waiting--);
  }

  async #forward(to: Endpoint, payload: Buffer): Promise<void> {
    const [host] = await this.#addresses(to);
    if (host === undefined || isUnspecified(host) || to.port === 0) {
      this.dropped++;
      return;
    }
    const socket = await this.#towards(familyOf(host));
    if (this.#closed || !this.#options.onTraffic()) return;
    this.#remember(host);
    this.up += payload.length;
    socket.send(payload, to.port, host, (error) => {
      // UDP promises nothing, and neither do we; but what was not sent is not counted.
      if (error === null) return;
      this.up -= payload.length;
      this.dropped++;
    });
  }

  #toClient(message: Buffer, from: RemoteInfo): void {
    const host = plainAddress(from.address);
    const bytes = encodeDatagram({ host, port: from.port }, message);
    if (!this.#spokenTo.has(host) || this.#clientPort === undefined || bytes === undefined) {
      this.dropped++;
      return;
    }
    if (this.#closed || !this.#options.onTraffic()) return;
    this.down += message.length;
    this.#inner.send(bytes, this.#clientPort, this.#options.client, (error) => {
      if (error === null) return;
      this.down -= message.length;
      this.dropped++;
    });
  }

  /** The addresses the rules allow, kept for a while: asking for every datagram would make a resolver the bottleneck. */
  #addresses(to: Endpoint): Promise<readonly string[]> {
    const { settings, principal, client } = this.#options;
    const key = `${to.host} ${to.port}`;
    const now = settings.kernel.clock.now();
    const known = this.#resolved.get(key);
    if (known !== undefined && known.until > now) return known.hosts;
    const question: Question = { principal, command: "associate", client, host: to.host, port: to.port };
    const hosts = permitted(settings, question, undefined).then((found) =>
      "hosts" in found ? found.hosts : [],
    );
    this.#resolved.delete(key);
    if (this.#resolved.size >= REMEMBERED) {
      for (const oldest of this.#resolved.keys()) {
        this.#resolved.delete(oldest);
        break;
      }
    }
    this.#resolved.set(key, { hosts, until: now + RESOLVED_MS });
    return hosts;
  }

  #remember(host: string): void {
    if (this.#spokenTo.has(host)) return;
    if (this.#spokenTo.size >= REMEMBERED) {
      for (const oldest of this.#spokenTo) {
        this.#spokenTo.delete(oldest);
        break;
      }
    }
    this.#spokenTo.add(host);
  }

  #towards(family: "udp4" | "udp6"): Promise<Socket> {
    let opening = this.#outer.get(family);
    if (opening === undefined) {
      opening = this.#openOuter(family);
      this.#outer.set(family, opening);
    }
    return opening;
  }

  async #openOuter(family: "udp4" | "udp6"): Promise<Socket> {
    const socket = createSocket(family);
    const { outerHost } = this.#options.settings;
    const any = family === "udp4" ? "0.0.0.0" : "::";
    await bound(socket, outerHost !== undefined && familyOf(outerHost) === family ? outerHost : any);
    socket.on("message", (message, from) => this.#toClient(message, from));
    socket.on("error", settingsFault(this.#options));
    return socket;
  }
}

function bound(socket: Socket, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address, port: 0 }, () => {
      socket.removeAllListeners("error");
      resolve();
    });
  });
}

function familyOf(host: string): "udp4" | "udp6" {
  return parseAddress(host)?.length === 16 ? "udp6" : "udp4";
}

function settingsFault({ settings }: AssociationOptions): (error: unknown) => void {
  return (error) => settings.onFault(error);
}

/** Destinations remembered in an association, of each kind. */
const REMEMBERED = 1_024;
const WAITING = 256;
const RESOLVED_MS = 60_000;
