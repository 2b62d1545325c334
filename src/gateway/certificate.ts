import { readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { TlsOptions } from "node:tls";
import { createSecureContext } from "node:tls";
import { HoldfastError } from "../kernel/index.ts";
import type { TlsConfig } from "./config.ts";
import type { Log } from "./log.ts";

/** What a server of TLS takes; with `ca` it lets in only clients that the authorities in it vouch for. */
export type CertificateOptions = Pick<TlsOptions, "cert" | "key" | "requestCert" | "rejectUnauthorized"> & {
  readonly ca?: string;
};

/** A certificate from files, read again when they change; a pair that does not fit is left aside, and the old one stays. */
export class Certificate {
  readonly #files: TlsConfig;
  readonly #log: Log;
  readonly #stops: (() => void)[] = [];
  readonly #listeners = new Set<(options: CertificateOptions) => void>();
  #soon: NodeJS.Timeout | undefined;
  #read: { readonly text: string; readonly options: CertificateOptions };

  constructor(files: TlsConfig, log: Log) {
    this.#files = files;
    this.#log = log;
    this.#read = readFiles(files);
    const { cert, key, "client-ca": clientCa } = files;
    // Certificates are usually replaced by renaming, which a watch on the file itself would lose.
    for (const folder of new Set([cert, key, ...(clientCa === undefined ? [] : [clientCa])].map(dirname))) {
      const watcher = watch(folder, { persistent: false }, () => {
        clearTimeout(this.#soon);
        this.#soon = setTimeout(() => this.reload(), SETTLE_MS);
      });
      this.#stops.push(() => watcher.close());
    }
  }

  get options(): CertificateOptions {
    return this.#read.options;
  }

  onChange(listener: (options: CertificateOptions) => void): void {
    this.#listeners.add(listener);
  }

  reload(): void {
    try {
      const read = readFiles(this.#files);
      if (read.text === this.#read.text) return;
      this.#read = read;
      for (const listener of this.#listeners) listener(read.options);
      this.#log.info({ cert: this.#files.cert }, "certificate reloaded");
    } catch (error) {
      this.#log.error({ err: error }, "the new certificate cannot be used; the old one stays");
    }
  }

  close(): void {
    clearTimeout(this.#soon);
    for (const stop of this.#stops) stop();
  }
}

function readFiles(files: TlsConfig): { text: string; options: CertificateOptions } {
  try {
    const [cert, key] = [readFileSync(files.cert, "utf8"), readFileSync(files.key, "utf8")];
    const ca = files["client-ca"] === undefined ? undefined : readFileSync(files["client-ca"], "utf8");
    const options: CertificateOptions = {
      cert,
      key,
      ...(ca !== undefined && { ca, requestCert: true, rejectUnauthorized: true }),
    };
    createSecureContext(options);
    return { text: [cert, key, ca].join("\n"), options };
  } catch (error) {
    throw new HoldfastError(
      "invalid-argument",
      `The certificate ${files.cert} with the key ${files.key} cannot be used: ${String(error)}`,
      { cause: error },
    );
  }
}

const SETTLE_MS = 200;
