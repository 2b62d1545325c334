import type { RequestListener, Server } from "node:http";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { TlsFigures } from "../console/index.ts";
import { Certificate } from "./certificate.ts";
import type { TlsConfig } from "./config.ts";
import type { Log } from "./log.ts";

/** The certificates of everything here that speaks TLS, and the sessions it keeps. */
export class TlsRoom {
  readonly #log: Log;
  readonly #certificates: Certificate[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * A server of HTTP; over TLS when there is a certificate.
   * @throws HoldfastError `invalid-argument` when the certificate cannot be used.
   */
  httpServer(tls: TlsConfig | undefined, serve: RequestListener): Server {
    if (tls === undefined) return createServer(serve);
    const certificate = new Certificate(tls, this.#log);
    this.#certificates.push(certificate);
    const server = createSecureServer(certificate.options, serve);
    certificate.onChange((options) => server.setSecureContext(options));
    return server;
  }

  figures(): TlsFigures | undefined {
    return undefined;
  }

  reload(): void {
    for (const certificate of this.#certificates) certificate.reload();
  }

  close(): void {
    for (const certificate of this.#certificates) certificate.close();
  }
}
