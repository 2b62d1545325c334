import type { FSWatcher } from "node:fs";
import { readFileSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { SecureContextOptions } from "node:tls";
import { createSecureContext } from "node:tls";

import type { TlsConfig } from "./config/index.ts";
import type { Log } from "./log.ts";

/** What of a TLS server can take another certificate while it runs. */
export interface CertifiedServer {
  setSecureContext(options: SecureContextOptions): void;
}

/**
 * A certificate and its key, read again when their files change: new connections get the new one, those that are open
 * keep theirs. A pair that does not fit together is reported, and the one before stays.
 */
export class Certificates {
  readonly #config: TlsConfig;
  readonly #log: Log;
  readonly #servers = new Set<CertifiedServer>();
  readonly #watchers: FSWatcher[] = [];
  #options: SecureContextOptions;
  #settling: NodeJS.Timeout | undefined;

  /** @throws Error when the files cannot be read, or are no certificate with its key. */
  constructor(config: TlsConfig, log: Log) {
    this.#config = config;
    this.#log = log;
    this.#options = read(config);
    // Folders are watched, not files: who renews certificates replaces files rather than writing into them.
    const names = new Set([config.certificate, config.key].map((file) => basename(file)));
    for (const folder of new Set([config.certificate, config.key].map((file) => dirname(file)))) {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        // Kubernetes switches a link called ..data.
        if (name === null || names.has(name) || name === "..data") this.#changed();
      });
      watcher.on("error", (error) =>
        log.warn({ err: error, folder }, "certificates are not watched any more"),
      );
      this.#watchers.push(watcher);
    }
  }

  get options(): SecureContextOptions {
    return this.#options;
  }

  /** From here on the server gets every new certificate. */
  serve(server: CertifiedServer): void {
    this.#servers.add(server);
  }

  /** True when the files held a pair that fits. */
  reload(): boolean {
    const { certificate } = this.#config;
    try {
      this.#options = read(this.#config);
    } catch (error) {
      this.#log.error(
        { err: error, certificate },
        "the certificate was not taken; the one before stays in use",
      );
      return false;
    }
    for (const server of this.#servers) server.setSecureContext(this.#options);
    this.#log.info({ certificate }, "certificate reloaded");
    return true;
  }

  close(): void {
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
  }

  /** Certificate and key are two files: there is a moment in which only one of them is new. */
  #changed(): void {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.reload(), SETTLE_MS);
    this.#settling.unref();
  }
}

function read(config: TlsConfig): SecureContextOptions {
  const options = {
    cert: readFileSync(config.certificate),
    key: readFileSync(config.key),
    minVersion: config.minVersion ?? "TLSv1.2",
  } as const;
  createSecureContext(options);
  return options;
}

const SETTLE_MS = 250;
