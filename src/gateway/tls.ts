import type { RequestListener, Server } from "node:http";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { TlsFigures } from "../console/index.ts";
import type { Kernel } from "../kernel/index.ts";
import type { TlsMetrics, TlsSessions } from "../mechanisms/tls/index.ts";
import { tlsSessions } from "../mechanisms/tls/index.ts";
import { Certificate } from "./certificate.ts";
import type { TlsConfig, TlsSessionsConfig } from "./config.ts";
import type { Log } from "./log.ts";
import { configSpan } from "./span.ts";
import { tlsSecret } from "./tls-secret.ts";

export interface TlsRoomParts {
  readonly kernel: Kernel;
  readonly config: TlsSessionsConfig;
  /** The gateway's data folder. */
  readonly data: string;
  readonly log: Log;
}

/** The certificates of everything here that speaks TLS, and the sessions it keeps. */
export class TlsRoom {
  readonly #parts: TlsRoomParts;
  readonly #certificates: Certificate[] = [];
  readonly #sessions = new Map<string, TlsSessions>();
  #secret: string | undefined;

  constructor(parts: TlsRoomParts) {
    this.#parts = parts;
  }

  /**
   * A server of HTTP; over TLS when there is a certificate. `name` is that of the port, the same on every node.
   * @throws HoldfastError `invalid-argument` when the certificate or the secret cannot be used.
   */
  httpServer(name: string, tls: TlsConfig | undefined, serve: RequestListener): Server {
    if (tls === undefined) return createServer(serve);
    const certificate = this.certificate(tls);
    const sessions = this.#sessionsOf(name);
    const { options } = certificate;
    const server = createSecureServer(sessions?.serverOptions(options) ?? options, serve);
    sessions?.attach(server, options.ca === undefined ? {} : { ca: options.ca });
    certificate.onChange((renewed) => server.setSecureContext(renewed));
    return server;
  }

  /** For what is not HTTP: kept fresh like the others. */
  certificate(tls: TlsConfig): Certificate {
    const certificate = new Certificate(tls, this.#parts.log);
    this.#certificates.push(certificate);
    return certificate;
  }

  /** Of all ports together; undefined when none keeps sessions. */
  figures(): TlsFigures | undefined {
    if (this.#sessions.size === 0) return undefined;
    const total = { handshakes: 0, offered: 0, resumed: 0, refusals: {} as Record<string, number> };
    for (const { full, resumed, fullBecause } of this.metrics().values()) {
      const [anew, again] = [sum(full), sum(resumed)];
      total.handshakes += anew + again;
      total.offered += anew + again - (fullBecause["not-offered"] ?? 0);
      total.resumed += again;
      for (const [reason, count] of Object.entries(fullBecause))
        if (reason !== "not-offered") total.refusals[reason] = (total.refusals[reason] ?? 0) + count;
    }
    return total;
  }

  /** By the port's name. */
  metrics(): ReadonlyMap<string, TlsMetrics> {
    return new Map([...this.#sessions].map(([name, sessions]) => [name, sessions.metrics()]));
  }

  /** Reads certificates again, and the secret if it is in a file of its own; what was made with the old one stays good. */
  reload(): void {
    for (const certificate of this.#certificates) certificate.reload();
    const file = this.#parts.config["secret-file"];
    if (this.#secret === undefined || file === undefined) return;
    const { log } = this.#parts;
    this.#rotate().then(
      (isNew) => isNew && log.info({ file }, "TLS secret reloaded"),
      (error: unknown) => log.error({ err: error }, "the new TLS secret cannot be used; the old one stays"),
    );
  }

  /** False when it is the same secret as before. */
  async #rotate(): Promise<boolean> {
    const secret = tlsSecret(this.#parts.config, this.#parts.data);
    if (secret === this.#secret) return false;
    await Promise.all([...this.#sessions.values()].map((sessions) => sessions.rotate(secret)));
    this.#secret = secret;
    return true;
  }

  close(): void {
    for (const certificate of this.#certificates) certificate.close();
    for (const sessions of this.#sessions.values()) sessions.close();
  }

  /** Each port keeps its own, so that what one lets in does not resume at another. */
  #sessionsOf(name: string): TlsSessions | undefined {
    const { kernel, config, data, log } = this.#parts;
    const { mode = "ticket", cluster = "holdfast", epoch } = config;
    if (mode === "off") return undefined;
    const known = this.#sessions.get(name);
    if (known !== undefined) return known;
    this.#secret ??= tlsSecret(config, data);
    const { "max-ticket-age": ticketAge, "max-chain-age": chainAge, "max-entries": maxEntries } = config;
    const singleUse = config["single-use"];
    const made = tlsSessions({
      kernel,
      cluster: `${cluster}/${name}`,
      secret: this.#secret,
      mode,
      ...(config.keys !== undefined && { keys: config.keys }),
      ...(epoch !== undefined && { epochMs: configSpan(epoch, 0) }),
      ...(ticketAge !== undefined && { maxTicketAgeMs: configSpan(ticketAge, 0) }),
      ...(chainAge !== undefined && { maxChainAgeMs: configSpan(chainAge, 0) }),
      ...(singleUse !== undefined && { singleUse }),
      ...(maxEntries !== undefined && { cache: { maxEntries } }),
      onFault: (error) => log.warn({ err: error }, "a fault of TLS sessions"),
    });
    this.#sessions.set(name, made);
    return made;
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}
