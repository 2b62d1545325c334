import { HoldfastError, Secret } from "../../kernel/index.ts";
import type { Failure } from "./codec.ts";
import type { ProxyFailure, ProxyProtocol } from "./client-machine.ts";

/** A proxy to go through. */
export interface Proxy {
  readonly protocol: ProxyProtocol;
  readonly host: string;
  readonly port: number;
  readonly username?: string;
  readonly password?: string | Secret;
}

/** A proxy, as an object or as a URL: `socks5://user:password@host:1080`, also `socks5h`, `socks4`, `socks4a`, `http`. */
export type ProxyLike = Proxy | string | URL;

/**
 * Names are always resolved by the proxy, so `socks5` and `socks5h` mean the same.
 * @throws HoldfastError `invalid-argument`.
 */
export function parseProxy(proxy: ProxyLike): Proxy {
  if (typeof proxy !== "string" && !(proxy instanceof URL)) return proxy;
  const url = URL.canParse(String(proxy)) ? new URL(String(proxy)) : undefined;
  const known = url === undefined ? undefined : SCHEMES[url.protocol];
  if (url === undefined || known === undefined || url.hostname === "") {
    const shape = "socks5://user:password@host:port (or socks4, socks4a, socks5h, http)";
    const shown = url === undefined ? "[not a URL]" : `${url.protocol}//${url.host}`;
    throw new HoldfastError("invalid-argument", `A proxy's URL looks like ${shape}.`, {
      detail: { proxy: shown },
    });
  }
  return {
    protocol: known.protocol,
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? known.port : Number(url.port),
    ...(url.username !== "" && { username: decodeURIComponent(url.username) }),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
  };
}

export function revealed(password: string | Secret): string {
  return typeof password === "string" ? password : password.reveal();
}

/** A proxy could not be used, or would not do as asked. */
export class ProxyError extends Error {
  override readonly name = "ProxyError";
  readonly code: ProxyFailure["code"] | "proxy-unreachable" | "proxy-timeout";
  /** The proxy's own reason, where it gave one. */
  readonly reply: Failure | undefined;
  /** Which proxy of the chain, counted from 0. */
  readonly hop: number;

  constructor(
    failure: { code: ProxyError["code"]; why: string; reply?: Failure },
    hop: number,
    cause?: unknown,
  ) {
    super(`${failure.why} (proxy ${hop + 1})`, cause === undefined ? undefined : { cause });
    this.code = failure.code;
    this.reply = failure.reply;
    this.hop = hop;
  }
}

const SCHEMES: Readonly<Record<string, { readonly protocol: ProxyProtocol; readonly port: number }>> = {
  "socks:": { protocol: "socks5", port: 1080 },
  "socks5:": { protocol: "socks5", port: 1080 },
  "socks5h:": { protocol: "socks5", port: 1080 },
  "socks4:": { protocol: "socks4", port: 1080 },
  "socks4a:": { protocol: "socks4", port: 1080 },
  "http:": { protocol: "http", port: 80 },
};
