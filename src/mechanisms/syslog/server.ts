import { createSocket } from "node:dgram";
import type { RemoteInfo, Socket as UdpSocket } from "node:dgram";
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import type { TlsOptions } from "node:tls";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import type { Kernel } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import { listenOn } from "../../transport/listen.ts";
import { isFault } from "../../wire/fault.ts";
import type { SyslogMessage } from "./codec.ts";
import { parseMessage } from "./codec.ts";
import { MessageSplitter } from "./framing.ts";
import { Sender } from "./sender.ts";

/** Where a message came from. */
export interface SyslogOrigin {
  readonly transport: "udp" | "tcp" | "tls";
  readonly address: string;
  /** Subject common name of the sender's certificate, where TLS verified one. */
  readonly certificate?: string;
}

export interface SyslogOptions {
  readonly kernel: Kernel;
  /** Takes a message; while many are not taken yet, streams wait and datagrams are dropped. */
  readonly deliver: (message: SyslogMessage, origin: SyslogOrigin) => unknown;
  /** Longer ones are refused; 65,536 bytes unless given. RFC 5424 §6.1 asks for 2,048 at least. */
  readonly maxMessageBytes?: number;
  /** TCP and TLS connections at once; 1,000 unless given. */
  readonly connections?: number;
  /** Addresses that datagrams come from, each a session; 1,000 unless given. */
  readonly sources?: number;
  /** After so long without a message a connection is closed, and an address is forgotten; 600,000 ms unless given. */
  readonly idleMs?: number;
  /** Bytes of messages that are being delivered; 8 MiB unless given. */
  readonly pendingBytes?: number;
  readonly onFault?: (error: unknown) => void;
}

export interface SyslogListenOptions {
  readonly host?: string;
  readonly port?: number;
}

export interface SyslogCounts {
  readonly messages: number;
  /** Datagrams that there was no room for. The next message that is delivered is followed by one that says so. */
  readonly dropped: number;
  /** What was no syslog message; delivered as RFC 3164 §4.3.3 has it. */
  readonly malformed: number;
}

/** @throws HoldfastError `invalid-argument` for a limit below 1. */
export function createSyslog(options: SyslogOptions): Syslog {
  return new Syslog(options);
}

export type Settings = Required<SyslogOptions>;

/** A syslog receiver: UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425). Each sender is a session. */
export class Syslog implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<UdpSocket>();
  readonly #streams = new Map<Socket, Sender>();
  readonly #sources = new Map<string, Sender>();
  readonly #counts = { messages: 0, dropped: 0, malformed: 0 };
  #pending = 0;
  #untold = 0;
  #waiting: (() => void)[] = [];

  constructor(options: SyslogOptions) {
    this.#settings = {
      maxMessageBytes: 65_536,
      connections: 1000,
      sources: 1000,
      idleMs: 600_000,
      pendingBytes: 8_388_608,
      onFault: () => undefined,
      ...options,
    };
    for (const name of ["maxMessageBytes", "connections", "sources", "idleMs", "pendingBytes"] as const)
      if (!(this.#settings[name] >= 1))
        throw new HoldfastError("invalid-argument", `${name} is a number from 1 on.`, {
          detail: { [name]: this.#settings[name] },
        });
  }

  get counts(): SyslogCounts {
    return { ...this.#counts };
  }

  /** Senders: connections, and addresses that datagrams came from. */
  get senders(): number {
    return this.#streams.size + this.#sources.size;
  }

  /** Datagrams. Rejects with the system's error when it cannot. */
  async listenUdp({ host = "127.0.0.1", port = 0 }: SyslogListenOptions = {}): Promise<number> {
    const socket = createSocket({
      type: host.includes(":") ? "udp6" : "udp4",
      recvBufferSize: RECEIVE_BYTES,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, host, () => {
        socket.off("error", reject);
        resolve();
      });
    });
    socket.on("error", this.#settings.onFault);
    socket.on("message", (bytes, from) => this.#datagram(bytes, from));
    this.#sockets.add(socket);
    return socket.address().port;
  }

  /** Streams, over TLS when `tls` is given. Rejects with the system's error when it cannot. */
  async listenTcp({
    host = "127.0.0.1",
    port = 0,
    tls,
  }: SyslogListenOptions & { tls?: TlsOptions } = {}): Promise<{
    readonly port: number;
    /** Another certificate, for connections from now on. */
    readonly renew: (tls: TlsOptions) => void;
  }> {
    const accept = (socket: Socket): void => this.#accept(socket, tls === undefined ? "tcp" : "tls");
    const secure = tls === undefined ? undefined : createTlsServer(tls, accept);
    const server = secure ?? createServer(accept);
    const at = await listenOn(server, { host, port });
    server.on("error", this.#settings.onFault);
    this.#servers.add(server);
    return {
      port: at.port,
      renew: (options) => secure?.setSecureContext(options),
    };
  }

  /** Takes nothing more, and ends the sessions; what came before is delivered. */
  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.close();
    this.#servers.clear();
    this.#sockets.clear();
    for (const socket of this.#streams.keys()) socket.destroy();
    const senders = [...this.#streams.values(), ...this.#sources.values()];
    await Promise.all(senders.map((sender) => sender.end("bye")));
    this.#sources.clear();
    while (this.#pending > 0) await this.#room(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ── datagrams ───────────────────────────────────────────────────────────────────────────────────────────────

  #datagram(bytes: Buffer, { address }: RemoteInfo): void {
    const { pendingBytes, maxMessageBytes, sources } = this.#settings;
    const sender = this.#sources.get(address);
    const full = this.#pending + bytes.length > pendingBytes || bytes.length > maxMessageBytes;
    if (full || (sender === undefined && this.#sources.size >= sources) || sender?.refused === true) {
      this.#counts.dropped++;
      this.#untold++;
      return;
    }
    const known = sender ?? this.#source(address);
    known.heard();
    const size = bytes.length;
    this.#pending += size;
    known.ready.then(
      () => this.#deliver(known, bytes),
      () => {
        // Locked out, or the store is away.
        this.#pending -= size;
        this.#counts.dropped++;
        this.#untold++;
        this.#wake();
      },
    );
  }

  #source(address: string): Sender {
    const sender = new Sender(this.#settings, { transport: "udp", address }, () => {
      if (this.#sources.get(address) === sender) this.#sources.delete(address);
    });
    this.#sources.set(address, sender);
    return sender;
  }

  // ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────

  #accept(socket: Socket, transport: "tcp" | "tls"): void {
    socket.on("error", () => socket.destroy());
    if (this.#streams.size >= this.#settings.connections) return void socket.destroy();
    const secure = socket instanceof TLSSocket && socket.authorized ? socket.getPeerCertificate() : undefined;
    const name = secure?.subject?.CN;
    const certificate = typeof name === "string" ? { certificate: name } : {};
    const origin = { transport, address: socket.remoteAddress ?? "", ...certificate };
    const sender = new Sender(this.#settings, origin, () => socket.destroy());
    this.#streams.set(socket, sender);
    socket.on("close", () => {
      this.#streams.delete(socket);
      void sender.end("bye");
    });
    this.#read(socket, sender).catch((error: unknown) => {
      socket.destroy();
      // Locked out is an answer, not a fault.
      if (!sender.refused) this.#settings.onFault(error);
    });
  }

  async #read(socket: Socket, sender: Sender): Promise<void> {
    const splitter = new MessageSplitter(this.#settings.maxMessageBytes);
    socket.pause();
    await sender.ready;
    try {
      for await (const chunk of socket as AsyncIterable<Buffer>) {
        const messages = splitter.push(chunk);
        if (isFault(messages)) return sender.end("protocol-error", { why: messages.why });
        sender.heard();
        for (const message of messages) {
          // TCP itself makes the sender wait.
          await this.#room(this.#settings.pendingBytes - 1);
          this.#pending += message.length;
          this.#deliver(sender, message);
        }
      }
    } catch {
      // Reset: what came before it was delivered.
    }
    const last = splitter.end();
    if (last === undefined) return;
    this.#pending += last.length;
    this.#deliver(sender, last);
  }

  // ── both ────────────────────────────────────────────────────────────────────────────────────────────────────

  #deliver(sender: Sender, bytes: Buffer): void {
    const parsed = parseMessage(bytes);
    if (isFault(parsed)) this.#counts.malformed++;
    const message = isFault(parsed) ? asItIs(bytes) : parsed;
    this.#counts.messages++;
    sender.messages++;
    const dropped = this.#untold;
    this.#untold = 0;
    const { deliver, onFault } = this.#settings;
    const work = async (): Promise<void> => {
      await deliver(message, sender.origin);
      if (dropped > 0) await deliver(loss(dropped), { transport: "udp", address: "" });
    };
    work()
      .catch(onFault)
      .finally(() => {
        this.#pending -= bytes.length;
        this.#wake();
      });
  }

  async #room(most: number): Promise<void> {
    while (this.#pending > most) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** RFC 3164 §4.3.3: what has no priority gets 13, user.notice. */
function asItIs(bytes: Uint8Array): SyslogMessage {
  const text = new TextDecoder().decode(bytes);
  return { format: "rfc3164", facility: 1, severity: 5, structured: [], text };
}

/** Loss is told in the feed itself: syslog over UDP has no other way. */
function loss(count: number): SyslogMessage {
  const params = [["count", String(count)] as const];
  return {
    format: "rfc5424",
    facility: 5,
    severity: 4,
    timestamp: new Date().toISOString(),
    app: "holdfast",
    structured: [{ id: "dropped@32473", params }],
    text: `${count} datagrams were dropped before this`,
  };
}

const RECEIVE_BYTES = 4_194_304;
