import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import type { Endpoint } from "./codec.ts";
import type { DialOptions } from "./dial.ts";
import { dial } from "./dial.ts";

/**
 * As `net.connect`, through proxies: returns at once, emits `connect` when the destination is reached, and keeps what is
 * written before. `error` is a `ProxyError` when a proxy is the reason. Where waiting is possible, `dial` gives an
 * ordinary `net.Socket`, which is faster.
 */
export function connect(options: DialOptions, onConnect?: () => void): SocksSocket {
  const socket = new SocksSocket(options);
  if (onConnect !== undefined) socket.once("connect", onConnect);
  return socket;
}

export class SocksSocket extends Duplex {
  readonly #abort = new AbortController();
  #inner: Socket | undefined;
  #bound: Endpoint | undefined;
  #settings: ((socket: Socket) => void)[] = [];
  #wantsMore = false;

  constructor(options: DialOptions) {
    super({ allowHalfOpen: true });
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([this.#abort.signal, ...signals]);
    dial({ ...options, signal }).then(
      ({ socket, bound }) => this.#connected(socket, bound),
      (error: unknown) => this.destroy(error instanceof Error ? error : new Error(String(error))),
    );
  }

  get connecting(): boolean {
    return this.#inner === undefined && !this.destroyed;
  }

  /** What the proxy bound towards the destination; `undefined` while connecting. */
  get bound(): Endpoint | undefined {
    return this.#bound;
  }

  /** The proxy's address: the destination's is not known to us. */
  get remoteAddress(): string | undefined {
    return this.#inner?.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#inner?.remotePort;
  }

  get localAddress(): string | undefined {
    return this.#inner?.localAddress;
  }

  get localPort(): number | undefined {
    return this.#inner?.localPort;
  }

  setNoDelay(on?: boolean): this {
    return this.#set((socket) => socket.setNoDelay(on));
  }

  setKeepAlive(on?: boolean, initialDelayMs?: number): this {
    return this.#set((socket) => socket.setKeepAlive(on, initialDelayMs));
  }

  /** As of `net.Socket`: emits `timeout` when nothing went either way for so long. */
  setTimeout(ms: number, onTimeout?: () => void): this {
    if (onTimeout !== undefined) this.once("timeout", onTimeout);
    return this.#set((socket) => socket.setTimeout(ms));
  }

  ref(): this {
    return this.#set((socket) => socket.ref());
  }

  unref(): this {
    return this.#set((socket) => socket.unref());
  }

  #set(apply: (socket: Socket) => void): this {
    if (this.#inner === undefined) this.#settings.push(apply);
    else apply(this.#inner);
    return this;
  }

  #connected(socket: Socket, bound: Endpoint): void {
    if (this.destroyed) {
      socket.destroy();
      return;
    }
    this.#inner = socket;
    this.#bound = bound;
    for (const apply of this.#settings) apply(socket);
    this.#settings = [];
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => this.push(null));
    socket.on("timeout", () => this.emit("timeout"));
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
    if (!this.#wantsMore) socket.pause();
    this.emit("connect");
    this.emit("ready");
  }

  #whenConnected(run: (socket: Socket) => void): void {
    if (this.#inner === undefined) this.once("connect", () => this.#inner !== undefined && run(this.#inner));
    else run(this.#inner);
  }

  override _read(): void {
    this.#wantsMore = true;
    this.#inner?.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#whenConnected((socket) => socket.write(chunk, encoding, done));
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#whenConnected((socket) => socket.end(done));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#abort.abort(error ?? new Error("the socket was destroyed"));
    this.#inner?.destroy();
    done(error);
  }
}
