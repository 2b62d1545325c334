import { readFileSync, watch } from "node:fs";
import { dirname } from "node:path";
import { createSecureContext } from "node:tls";
import { HoldfastError } from "../kernel/index.ts";
import type { TlsConfig } from "./config.ts";
import type { Log } from "./log.ts";

export interface KeyPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate from files, read again when they change; a pair that does not fit is left aside, and the old one stays. */
export class Certificate {
  readonly #files: TlsConfig;
  readonly #log: Log;
  readonly #stops: (() => void)[] = [];
  readonly #listeners = new Set<(options: KeyPair) => void>();
  #soon: NodeJS.Timeout | undefined;
  options: KeyPair;

  constructor(files: TlsConfig, log: Log) {
    this.#files = files;
    this.#log = log;
    this.options = this.#read();
    // Certificates are usually replaced by renaming, which a watch on the file itself would lose.
    for (const folder of new Set([dirname(files.cert), dirname(files.key)])) {
      const watcher = watch(folder, { persistent: false }, () => {
        clearTimeout(this.#soon);
        this.#soon = setTimeout(() => this.reload(), SETTLE_MS);
      });
      this.#stops.push(() => watcher.close());
    }
  }

  onChange(listener: (options: KeyPair) => void): void {
    this.#listeners.add(listener);
  }

  reload(): void {
    try {
      const options = this.#read();
      if (
        String(options.cert) === String(this.options.cert) &&
        String(options.key) === String(this.options.key)
      )
        return;
      this.options = options;
      for (const listener of this.#listeners) listener(options);
      this.#log.info({ cert: this.#files.cert }, "certificate reloaded");
    } catch (error) {
      this.#log.error({ err: error }, "the new certificate cannot be used; the old one stays");
    }
  }

  close(): void {
    clearTimeout(this.#soon);
    for (const stop of this.#stops) stop();
  }

  #read(): KeyPair {
    try {
      const options = { cert: readFileSync(this.#files.cert), key: readFileSync(this.#files.key) };
      createSecureContext(options);
      return options;
    } catch (error) {
      throw new HoldfastError(
        "invalid-argument",
        `The certificate ${this.#files.cert} with the key ${this.#files.key} cannot be used: ${String(error)}`,
        {
          cause: error,
        },
      );
    }
  }
}

const SETTLE_MS = 200;
