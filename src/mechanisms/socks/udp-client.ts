import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket as UdpSocket } from "node:dgram";
import { EventEmitter } from "node:events";
import type { Socket } from "node:net";
import { HoldfastError } from "../../kernel/index.ts";
import { isFault } from "../../wire/index.ts";
import { plainAddress } from "./address.ts";
import { reachable } from "./client.ts";
import type { Endpoint } from "./codec.ts";
import { decodeDatagram, encodeDatagram } from "./codec.ts";
import type { DialOptions } from "./dial.ts";
import { negotiateChain } from "./dial.ts";
import type { ProxyLike } from "./proxy.ts";

export interface AssociateOptions extends Pick<DialOptions, "timeoutMs" | "signal"> {
  /** One SOCKS5 proxy: datagrams cannot be passed through a chain. */
  readonly proxy: ProxyLike;
}

export interface UdpEvents {
  /** A datagram, and who sent it. */
  message: [payload: Buffer, from: Endpoint];
  /** It is over: closed here, or by the proxy. */
  close: [];
  error: [error: Error];
}

/**
 * RFC 1928 §7: sends and receives datagrams through a SOCKS5 proxy. Rejects with a `ProxyError`.
 * It stands until `close()`, or until the proxy closes the TCP connection it was asked for on.
 */
export async function associate(options: AssociateOptions): Promise<UdpAssociation> {
  const dialling = { ...options, host: "0.0.0.0", port: 0 };
  const { negotiation, bound, proxy } = await negotiateChain(dialling, "associate");
  const control = negotiation.handOver();
  const relay = reachable(bound, control, proxy.host);
  const udp = createSocket(relay.host.includes(":") ? "udp6" : "udp4");
  return new UdpAssociation(control, udp, relay);
}

export class UdpAssociation extends EventEmitter<UdpEvents> implements AsyncDisposable {
  readonly #control: Socket;
  readonly #udp: UdpSocket;
  readonly #relay: Endpoint;
  #closed = false;

  constructor(control: Socket, udp: UdpSocket, relay: Endpoint) {
    super();
    this.#control = control;
    this.#udp = udp;
    this.#relay = relay;
    udp.on("message", (message, from) => this.#received(message, from));
    udp.on("error", (error) => this.#failed(error));
    control.on("error", (error) => this.#failed(error));
    control.on("close", () => this.#close());
    control.on("end", () => this.#close());
    control.resume();
  }

  /** Where the proxy takes our datagrams. */
  get relay(): Endpoint {
    return this.#relay;
  }

  /**
   * Resolves when it is handed to the system; whether it arrives nobody says.
   * @throws HoldfastError `invalid-argument` when the destination cannot be expressed.
   */
  send(payload: Uint8Array, to: Endpoint): Promise<void> {
    const bytes = encodeDatagram(to, payload);
    if (bytes === undefined) {
      const message = "A datagram's destination is an address or a name of at most 255 bytes, and a port.";
      throw new HoldfastError("invalid-argument", message, { detail: { ...to } });
    }
    return new Promise((resolve, reject) => {
      this.#udp.send(bytes, this.#relay.port, this.#relay.host, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  close(): void {
    this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    return Promise.resolve();
  }

  /** Only what the proxy sends counts, and no fragments: nobody sends them, and RFC 1928 §7 lets us drop them. */
  #received(message: Buffer, from: RemoteInfo): void {
    if (plainAddress(from.address) !== this.#relay.host || from.port !== this.#relay.port) return;
    const datagram = decodeDatagram(message);
    if (isFault(datagram) || datagram.fragment !== 0) return;
    this.emit("message", datagram.payload, datagram.endpoint);
  }

  #failed(error: Error): void {
    if (this.listenerCount("error") > 0) this.emit("error", error);
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#control.destroy();
    this.#udp.close();
    this.emit("close");
  }
}
