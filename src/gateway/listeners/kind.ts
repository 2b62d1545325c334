import type { ValidateFunction } from "ajv/dist/2020.js";
import { Ajv2020 } from "ajv/dist/2020.js";

import type { Kernel } from "../../kernel/index.ts";
import type { Certificates } from "../certificates.ts";
import type { ListenerConfig, Schema, TlsConfig } from "../config/index.ts";
import type { Log } from "../log.ts";

/** One thing that is served, while it runs. */
export interface Listener {
  readonly name: string;
  readonly mechanism: string;
  /** `socks5://127.0.0.1:1080`: where it listens. */
  readonly address: string;
  /** Connections, or requests under way. */
  open(): number;
  /**
   * Takes nothing new, tells peers, and resolves when the rest has finished or been ended. At `deadlineAt`, by the
   * kernel's clock, it ends what is left.
   */
  drain(deadlineAt: number): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
}

export interface ListenerParts {
  /** Started. */
  readonly kernel: Kernel;
  readonly name: string;
  readonly host: string;
  readonly port: number | undefined;
  readonly log: Log;
  /** Loads a certificate that is kept up to date. */
  certificates(config: TlsConfig): Certificates;
  /** For HTTP listeners: hears of every answer. */
  answered(method: string, status: number, seconds: number): void;
}

/** How a mechanism becomes a listener: one file in this folder each, named in `index.ts`. */
export interface ListenerKind {
  readonly mechanism: string;
  /** Of one entry of `listeners` in the configuration. */
  readonly schema: Schema;
  /** Rejects with a plain reason when it cannot listen. */
  open(config: ListenerConfig, parts: ListenerParts): Promise<Listener>;
}

/** A kind whose options have a type of their own; they are what its schema lets through. */
export function listenerKind<Options extends ListenerConfig>(kind: {
  readonly mechanism: string;
  readonly schema: Schema;
  open(options: Options, parts: ListenerParts): Promise<Listener>;
}): ListenerKind {
  let isOptions: ValidateFunction<Options> | undefined;
  return {
    mechanism: kind.mechanism,
    schema: kind.schema,
    async open(config, parts) {
      isOptions ??= new Ajv2020({ strict: false }).compile<Options>(kind.schema);
      if (!isOptions(config)) throw new Error(`the options of listener ${parts.name} were not checked`);
      return kind.open(config, parts);
    },
  };
}
