import http from "node:http";
import https from "node:https";
import { Socket } from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { dial } from "./dial.ts";
import type { ProxyLike } from "./proxy.ts";

export interface ProxyAgentOptions {
  readonly proxy: ProxyLike | readonly ProxyLike[];
  /** For reaching the destination; 30 s unless given. */
  readonly connectMs?: number;
}

type Done = (error: Error | null, stream: Duplex) => void;

/** For `http.request({agent})`: connects through proxies, and keeps connections alive as any agent does. */
export class SocksAgent extends http.Agent {
  readonly #through: ProxyAgentOptions;

  constructor(through: ProxyAgentOptions, options?: http.AgentOptions) {
    super(options);
    this.#through = through;
  }

  override createConnection(options: http.ClientRequestArgs, done?: Done): undefined {
    void deliver(this.#through, options, 80, done, (socket) => socket);
  }
}

/** The same for `https.request({agent})`: TLS begins here and ends at the destination, the proxies see none of it. */
export class SocksTlsAgent extends https.Agent {
  readonly #through: ProxyAgentOptions;

  constructor(through: ProxyAgentOptions, options?: https.AgentOptions) {
    super(options);
    this.#through = through;
  }

  override createConnection(options: https.RequestOptions, done?: Done): undefined {
    void deliver(this.#through, options, 443, done, (socket) => {
      const { host, port: _port, path: _path, ...rest } = options;
      const servername = options.servername ?? host ?? "localhost";
      return tls.connect({ ...tlsOptions(rest), socket, servername });
    });
  }
}

async function deliver(
  { proxy, connectMs }: ProxyAgentOptions,
  options: http.ClientRequestArgs,
  defaultPort: number,
  done: Done | undefined,
  finish: (socket: Socket) => Duplex,
): Promise<void> {
  const host = options.host ?? options.hostname ?? "localhost";
  const port = Number(options.port ?? options.defaultPort ?? defaultPort);
  let stream: Duplex;
  try {
    const dialled = await dial({
      proxy,
      host,
      port,
      ...(connectMs !== undefined && { timeoutMs: connectMs }),
    });
    stream = finish(dialled.socket);
  } catch (error) {
    // The second argument is there for the type alone; with an error nobody looks at it.
    done?.(error instanceof Error ? error : new Error(String(error)), new Socket());
    return;
  }
  done?.(null, stream);
}

/** A request's options hold those of TLS among much else, with `null` where TLS knows only absence. */
function tlsOptions(options: https.RequestOptions): tls.ConnectionOptions {
  const { timeout: _timeout, ...rest } = options;
  const given = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
  return Object.fromEntries(given);
}
