import { readFileSync } from "node:fs";
import type { ErrorObject } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Document } from "yaml";
import { isMap, isScalar, LineCounter, parseDocument, visit } from "yaml";
import { HoldfastError } from "../kernel/index.ts";
import { kinds } from "./listeners/index.ts";
import { nearest } from "./nearest.ts";
import type { JsonSchema } from "./schema.ts";
import { configSchema } from "./schema.ts";

/** A configuration as written, after it was held against the schema. Names are the file's. */
export interface Config {
  readonly node?: string;
  readonly data?: string;
  readonly store?: StoreConfig;
  readonly admin?: AdminConfig;
  readonly "tls-sessions"?: TlsSessionsConfig;
  readonly log?: { readonly level?: string };
  readonly policy?: { readonly lease?: string; readonly "retain-ended"?: string; readonly receipt?: string };
  readonly limits?: readonly LimitConfig[];
  readonly drain?: string;
  readonly listeners?: readonly ListenerConfig[];
}

export interface StoreConfig {
  readonly kind: "lmdb" | "memory" | "redis" | "postgres";
  readonly path?: string;
  readonly url?: string;
  readonly "near-cache"?: number;
}

export interface AdminConfig {
  readonly host?: string;
  readonly port?: number;
  readonly tls?: TlsConfig;
  readonly origin?: string;
  readonly exposed?: true;
}

export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
  readonly "client-ca"?: string;
}

export interface TlsSessionsConfig {
  readonly mode?: "ticket" | "cache" | "both" | "off";
  readonly cluster?: string;
  readonly secret?: string;
  readonly "secret-file"?: string;
  readonly keys?: "derived" | "ratchet" | "random";
  readonly epoch?: string;
  readonly "max-ticket-age"?: string;
  readonly "max-chain-age"?: string;
  readonly "single-use"?: boolean;
  readonly "max-entries"?: number;
}

export interface LimitConfig {
  readonly mechanism: string;
  readonly "per-principal"?: number;
  readonly "on-limit"?: "refuse" | "evict-oldest";
  readonly principals?: Readonly<Record<string, number>>;
  readonly idle?: string;
  readonly absolute?: string;
  readonly resumable?: string;
  readonly "retain-ended"?: string;
}

export interface ListenerConfig {
  readonly mechanism: string;
  readonly name?: string;
  readonly host?: string;
  readonly port?: number;
  readonly [option: string]: unknown;
}

/** Every mistake of a file at once, each with its place. */
export class ConfigError extends HoldfastError {
  readonly mistakes: readonly string[];

  constructor(mistakes: readonly string[]) {
    super("invalid-argument", mistakes.join("\n"));
    this.mistakes = mistakes;
  }
}

/** @throws ConfigError with file, line and column of each mistake; HoldfastError `invalid-argument` when it cannot be read. */
export function readConfig(
  path: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new HoldfastError(
      "invalid-argument",
      `The configuration ${path} cannot be read: ${String(error)}`,
      { cause: error },
    );
  }
  return parseConfig(text, path, env);
}

export function parseConfig(
  text: string,
  file: string,
  env: Readonly<Record<string, string | undefined>> = {},
): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  if (document.errors.length > 0) {
    throw new ConfigError(
      document.errors.map((error) => `${at(error.pos[0])}: ${error.message.split("\n")[0]}`),
    );
  }
  const unset = fillIn(document, env);
  if (unset.length > 0)
    throw new ConfigError(
      unset.map(({ offset, name }) => `${at(offset)}: the environment variable ${name} is not set`),
    );
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  if (!validate(value)) throw new ConfigError(mistakesOf(validate.errors ?? [], document, at));
  return value as Config;
}

/** What docs/holdfast.schema.json publishes. */
export const publishedSchema: JsonSchema = configSchema(
  Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, kind.schema])),
);
const validate = new Ajv2020({ allErrors: true, strict: false, verbose: true }).compile(publishedSchema);

/** `${NAME}` in any text is taken from the environment, so that secrets need not stand in the file. Returns what is unset. */
function fillIn(
  document: Document,
  env: Readonly<Record<string, string | undefined>>,
): { offset: number; name: string }[] {
  const unset: { offset: number; name: string }[] = [];
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || typeof node.value !== "string") return;
      node.value = node.value.replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => {
        const value = env[name];
        if (value === undefined) unset.push({ offset: node.range?.[0] ?? 0, name });
        return value ?? whole;
      });
    },
  });
  return unset;
}

function mistakesOf(
  errors: readonly ErrorObject[],
  document: Document,
  at: (offset: number) => string,
): string[] {
  // An `if` that led to a mistake is one more complaint about the same place.
  // So are those of the alternatives, none of which fits: their `oneOf` says what would.
  const real = errors.filter((error) => error.keyword !== "if" && !/\/oneOf\/\d/.test(error.schemaPath));
  const texts = real.map((error) => {
    const path = pathOf(error.instancePath);
    const key =
      error.keyword === "additionalProperties" ? String(error.params["additionalProperty"]) : undefined;
    return `${at(offsetOf(document, path, key))}: ${[...path, ...(key === undefined ? [] : [key])].join(".") || "the file"} ${explain(error, key)}`;
  });
  return [...new Set(texts)];
}

function explain(error: ErrorObject, key: string | undefined): string {
  const { params } = error;
  if (key !== undefined) {
    const known = Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {});
    const near = nearest(key, known);
    return `is not known here; ${near === undefined ? `there are ${known.join(", ")}` : `did you mean "${near}"?`}`;
  }
  const shown = JSON.stringify(error.data)?.slice(0, 60);
  if (error.keyword === "required") return `lacks "${String(params["missingProperty"])}"`;
  if (error.keyword === "enum") {
    const allowed = params["allowedValues"] as readonly unknown[];
    const near = typeof error.data === "string" ? nearest(error.data, allowed.map(String)) : undefined;
    return `must be one of ${allowed.map(String).join(", ")}; it is ${shown}${near === undefined ? "" : `, did you mean "${near}"?`}`;
  }
  const { title, description } = error.parentSchema ?? {};
  const described =
    ["oneOf", "pattern"].includes(error.keyword) && typeof description === "string"
      ? `must be: ${description}`
      : undefined;
  const wanted =
    typeof title === "string" ? `must be ${title}` : (described ?? error.message ?? "is not right");
  // JSON Schema's word for what is told to us and not by us.
  return error.parentSchema?.["writeOnly"] === true ? wanted : `${wanted}; it is ${shown}`;
}

function pathOf(pointer: string): (string | number)[] {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/** Where the value stands, or the key itself when it is one too many. */
function offsetOf(document: Document, path: readonly (string | number)[], key: string | undefined): number {
  const node: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
  if (key !== undefined && isMap(node)) {
    for (const pair of node.items) {
      if (isScalar(pair.key) && pair.key.value === key) return pair.key.range?.[0] ?? 0;
    }
  }
  return (node as { range?: readonly number[] } | undefined)?.range?.[0] ?? 0;
}
