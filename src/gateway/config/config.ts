/** The configuration after it was checked against its schema: what holdfast.yaml says, member by member. */
export interface Config {
  readonly node?: string;
  readonly data?: string;
  readonly store?: StoreConfig;
  readonly policy?: PolicyConfig;
  readonly admin?: AdminConfig;
  readonly log?: LogConfig;
  readonly drain?: Span;
  readonly listeners?: readonly ListenerConfig[];
}

/** Milliseconds, or a text such as `30s`. */
export type Span = number | string;

export type StoreConfig = { readonly nearCache?: number | false; readonly timeout?: Span } & (
  | { readonly kind: "memory" }
  | { readonly kind: "lmdb"; readonly path?: string }
  | { readonly kind: "redis"; readonly url: string; readonly prefix?: string }
  | {
      readonly kind: "postgres";
      readonly url: string;
      readonly schema?: string;
      readonly connections?: number;
      readonly migrate?: boolean;
    }
);

export interface PolicyConfig {
  readonly lease?: Span;
  readonly receipt?: Span;
  readonly retainEnded?: Span;
  readonly dataBytes?: number;
  readonly mechanisms?: Readonly<Record<string, MechanismConfig>>;
}

export interface MechanismConfig {
  readonly idle?: Span;
  readonly absolute?: Span;
  readonly resumable?: Span;
  readonly perPrincipal?: number;
  readonly principals?: Readonly<Record<string, number>>;
  readonly onLimit?: "refuse" | "evict-oldest";
}

export interface AdminConfig {
  readonly host?: string;
  readonly port?: number;
  readonly origin?: string;
  readonly tls?: TlsConfig;
  readonly withoutTls?: string;
}

export interface TlsConfig {
  readonly certificate: string;
  readonly key: string;
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

export interface LogConfig {
  readonly level?: "trace" | "debug" | "info" | "warn" | "error" | "silent";
  readonly file?: string;
}

/** What every listener has; its kind's own members are checked by its kind's schema. */
export interface ListenerConfig {
  readonly mechanism: string;
  readonly name?: string;
  readonly host?: string;
  readonly port?: number;
}

/** A span in milliseconds. The schema has seen to it that it is one. */
export function spanMs(span: Span): number {
  if (typeof span === "number") return span;
  const [, count, unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(span) ?? [];
  return Number(count) * (UNITS[unit] ?? Number.NaN);
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
