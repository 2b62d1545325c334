import { connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import { HoldfastError } from "../../kernel/index.ts";
import type { Step } from "./client-machine.ts";
import { ClientMachine } from "./client-machine.ts";
import type { Command, Endpoint } from "./codec.ts";
import { formatAddress, parseAddress } from "./address.ts";
import type { Proxy, ProxyLike } from "./proxy.ts";
import { parseProxy, ProxyError, revealed } from "./proxy.ts";

export interface DialOptions {
  /** One proxy, or several to go through one after the other; the last one connects to the destination. */
  readonly proxy: ProxyLike | readonly ProxyLike[];
  /** The destination: an address, or a name that the last proxy resolves. */
  readonly host: string;
  readonly port: number;
  /** For all of it; 30 s unless given. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface Dialled {
  /** An ordinary socket, to the first proxy; what is read from and written to it is the destination's. */
  readonly socket: Socket;
  /** The address the proxy uses towards the destination. With an `http` proxy the host is empty. */
  readonly bound: Endpoint;
}

/**
 * Connects to a destination through one or more proxies.
 * Rejects with a `ProxyError`, the signal's reason, or `invalid-argument` when there is no proxy.
 */
export async function dial(options: DialOptions): Promise<Dialled> {
  const { negotiation, bound } = await negotiateChain(options, "connect");
  return { socket: negotiation.handOver(), bound };
}

/** Through all proxies; the last is asked for `command`. The conversation with it may go on (BIND), or be handed over. */
export async function negotiateChain(
  options: DialOptions,
  command: Command,
): Promise<{ negotiation: Negotiation; bound: Endpoint; proxy: Proxy }> {
  const proxies = chainOf(options.proxy);
  const first = proxies[0];
  if (first === undefined)
    throw new HoldfastError("invalid-argument", "Name at least one proxy to go through.");
  options.signal?.throwIfAborted();
  const socket = connectTcp({ host: first.host, port: first.port, allowHalfOpen: true, noDelay: true });
  const negotiation = new Negotiation(socket, options);
  try {
    await negotiation.connected();
    let bound: Endpoint = { host: "", port: 0 };
    let last = first;
    for (const [hop, proxy] of proxies.entries()) {
      const next = proxies[hop + 1];
      const destination = plain(next ?? options);
      bound = await negotiation.ask(proxy, next === undefined ? command : "connect", destination, hop);
      last = proxy;
    }
    return { negotiation, bound, proxy: last };
  } catch (error) {
    negotiation.fail(error);
    throw error;
  }
}

/** The handshakes on one socket, one proxy after the other. */
export class Negotiation {
  readonly socket: Socket;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  #machine: ClientMachine | undefined;
  #hop = 0;
  #waiting: { resolve: (endpoint: Endpoint) => void; reject: (error: unknown) => void } | undefined;
  #arrived: Endpoint | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(socket: Socket, options: Pick<DialOptions, "timeoutMs" | "signal">) {
    this.socket = socket;
    this.#signal = options.signal;
    this.#signal?.addEventListener("abort", this.#aborted, { once: true });
    const timeoutMs = options.timeoutMs ?? 30_000;
    this.#timer = setTimeout(() => {
      this.fail(
        new ProxyError({ code: "proxy-timeout", why: `no connection within ${timeoutMs} ms` }, this.#hop),
      );
    }, timeoutMs);
    socket.on("error", this.#broken);
    // Not with `data`, which would leave the socket paused or flowing for whoever gets it afterwards.
    socket.on("readable", this.#pump);
    socket.on("end", this.#ended);
  }

  connected(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve: () => resolve(), reject };
      this.socket.once("connect", () => this.#arrive({ host: "", port: 0 }));
    });
  }

  /** Resolves with the (first) reply's address. */
  ask(proxy: Proxy, command: Command, destination: Endpoint, hop: number): Promise<Endpoint> {
    const before = this.#machine?.rest();
    this.#hop = hop;
    this.#machine = new ClientMachine({
      protocol: proxy.protocol,
      command,
      destination,
      ...(proxy.username !== undefined && { username: proxy.username }),
      ...(proxy.password !== undefined && { password: revealed(proxy.password) }),
    });
    const answer = this.next();
    this.#take(this.#machine.start());
    if (before !== undefined && before.length > 0) this.#take(this.#machine.handle(before));
    return answer;
  }

  /** The next reply: BIND has a second one. It may have come already. */
  next(): Promise<Endpoint> {
    const arrived = this.#arrived;
    this.#arrived = undefined;
    if (arrived !== undefined) return Promise.resolve(arrived);
    if (this.#failure !== undefined) return Promise.reject(this.#failure.error);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#pump();
    });
  }

  /** The time limit is over: what is waited for now may take as long as it likes. */
  unlimited(): void {
    clearTimeout(this.#timer);
  }

  /** The socket as the caller gets it: nothing of ours on it, and what came early back in it. */
  handOver(): Socket {
    const { socket } = this;
    this.#letGo();
    const early = this.#machine?.rest();
    if (early !== undefined && early.length > 0) socket.unshift(early);
    return socket;
  }

  /** Gives up. Nothing happens once the socket was handed over. */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = { error };
    this.#letGo();
    // An error may still be on its way out of the socket; it is this one.
    this.socket.on("error", () => this.socket.destroy());
    this.socket.destroy();
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  #letGo(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener("abort", this.#aborted);
    this.socket.off("error", this.#broken);
    this.socket.off("readable", this.#pump);
    this.socket.off("end", this.#ended);
  }

  readonly #aborted = (): void => this.fail(this.#signal?.reason);

  readonly #broken = (cause: Error): void => {
    const code = this.#machine === undefined ? "proxy-unreachable" : "proxy-closed";
    const why =
      this.#machine === undefined ? "the proxy cannot be reached" : "the connection to the proxy broke";
    this.fail(new ProxyError({ code, why: `${why}: ${cause.message}` }, this.#hop, cause));
  };

  /** Reads only while an answer is waited for: what comes behind it is the next one's, or the caller's. */
  readonly #pump = (): void => {
    while (this.#waiting !== undefined && this.#machine !== undefined) {
      const chunk: unknown = this.socket.read();
      if (!Buffer.isBuffer(chunk)) return;
      this.#take(this.#machine.handle(chunk));
    }
  };

  readonly #ended = (): void => this.#take(this.#machine?.ended() ?? []);

  #take(steps: readonly Step[]): void {
    for (const step of steps) {
      switch (step.type) {
        case "send":
          this.socket.write(step.bytes);
          break;
        case "granted":
          this.#arrive(step.bound);
          break;
        case "accepted":
          this.#arrive(step.peer);
          break;
        case "failed":
          this.fail(new ProxyError(step.failure, this.#hop));
          break;
      }
    }
  }

  #arrive(endpoint: Endpoint): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) this.#arrived = endpoint;
    else waiting.resolve(endpoint);
  }
}

function chainOf(proxy: DialOptions["proxy"]): readonly Proxy[] {
  const list: readonly ProxyLike[] = typeof proxy === "object" && Symbol.iterator in proxy ? proxy : [proxy];
  return list.map(parseProxy);
}

/** An IPv6 address may come in brackets, or in more than one spelling. */
function plain({ host, port }: Endpoint): Endpoint {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const bytes = parseAddress(bare);
  return { host: bytes === undefined ? bare : formatAddress(bytes), port };
}
