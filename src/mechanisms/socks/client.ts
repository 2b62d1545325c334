import type { Socket } from "node:net";
import type { Endpoint } from "./codec.ts";
import type { DialOptions } from "./dial.ts";
import { negotiateChain } from "./dial.ts";
import { plainAddress } from "./address.ts";
import { isUnspecified } from "./listening.ts";

/** A port that a proxy listens on for us (BIND). */
export interface Binding extends AsyncDisposable {
  /** Where the peer has to connect to. */
  readonly bound: Endpoint;
  /** The peer's connection, once it has come. Rejects when the proxy gives up or the binding is closed. */
  readonly accepted: Promise<{ readonly socket: Socket; readonly peer: Endpoint }>;
  /** Stops waiting. An accepted connection stays. */
  close(): void;
}

export interface BindOptions extends Pick<DialOptions, "proxy" | "timeoutMs" | "signal"> {
  /** Who is expected; anybody unless given. */
  readonly host?: string;
  readonly port?: number;
}

/**
 * Has the (last) proxy listen for one connection from outside. `timeoutMs` is for getting that far, not for the peer.
 * Rejects with a `ProxyError`.
 */
export async function bind(options: BindOptions): Promise<Binding> {
  const dialling: DialOptions = { ...options, host: options.host ?? "0.0.0.0", port: options.port ?? 0 };
  const { negotiation, bound, proxy } = await negotiateChain(dialling, "bind");
  negotiation.unlimited();
  const accepted = negotiation.next().then((peer) => ({ socket: negotiation.handOver(), peer }));
  // Whoever does not wait for the peer is not to be brought down by its staying away.
  accepted.catch(() => undefined);
  const close = (): void => negotiation.fail(new Error("the binding was closed"));
  return {
    bound: reachable(bound, negotiation.socket, proxy.host),
    accepted,
    close,
    [Symbol.asyncDispose]: () => Promise.resolve(close()),
  };
}

/** RFC 1928 leaves it to the client what 0.0.0.0 in a reply means: the address the proxy was reached at. */
export function reachable(bound: Endpoint, socket: Socket, host: string): Endpoint {
  return isUnspecified(bound.host) || bound.host === ""
    ? { host: plainAddress(socket.remoteAddress ?? host), port: bound.port }
    : bound;
}
