import { existsSync, readFileSync } from "node:fs";
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";
import { Ajv2020 } from "ajv/dist/2020.js";
import { isScalar, LineCounter, parseDocument, visit } from "yaml";

import type { Config } from "./config.ts";
import type { ConfigFault } from "./faults.ts";
import { ConfigError, Places } from "./faults.ts";
import { nearest } from "./nearest.ts";
import { rulesBroken } from "./rules.ts";
import type { Schema } from "./schema.ts";

export interface Loaded {
  readonly config: Config;
  /** Where it came from; `undefined` when there was no file and defaults apply. */
  readonly file: string | undefined;
}

/**
 * Reads a configuration. `path` must be there; without one, `holdfast.yaml` is taken if there is one.
 * @throws ConfigError with every mistake and its place.
 */
export function loadConfig(
  path: string | undefined,
  schema: Schema,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Loaded {
  const file = path ?? DEFAULT_FILE;
  if (path === undefined && !existsSync(file)) return { config: {}, file: undefined };
  let source: string;
  try {
    source = readFileSync(file, "utf8");
  } catch (error) {
    const message = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    throw new ConfigError(file, [{ line: 1, column: 1, message }]);
  }
  return { config: parseConfig(source, file, schema, env), file };
}

/** @throws ConfigError with every mistake and its place. */
export function parseConfig(
  source: string,
  file: string,
  schema: Schema,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false });
  const places = new Places(document, lines);
  const faults: ConfigFault[] = [];
  for (const { pos, message } of document.errors) faults.push({ ...places.at(pos[0]), message });
  if (faults.length > 0) throw new ConfigError(file, faults);
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || typeof node.value !== "string" || !isScalar(node)) return;
      node.value = node.value.replace(VARIABLE, (whole, name: string) => {
        const value = env[name];
        if (value === undefined)
          faults.push({
            ...places.at(node.range?.[0] ?? 0),
            message: `the environment variable ${name} is not set`,
          });
        return value ?? whole;
      });
    },
  });
  const value: unknown = document.toJS({ maxAliasCount: 100 }) ?? {};
  const validate = validator(schema);
  if (validate(value)) {
    for (const { path, message } of rulesBroken(value)) faults.push({ ...places.ofValue(path), message });
    if (faults.length === 0) return value;
  }
  const errors = (validate.errors ?? []).filter(({ keyword }) => !STRUCTURAL.has(keyword));
  faults.push(
    ...merged(errors.filter((error) => !isShadowed(error, errors)).map((error) => faultOf(error, places))),
  );
  throw new ConfigError(file, faults);
}

function validator(schema: Schema): ValidateFunction<Config> {
  // Compiled once for each schema object.
  let validate = validators.get(schema);
  if (validate === undefined) {
    validate = new Ajv2020({
      allErrors: true,
      verbose: true,
      strict: true,
      strictRequired: false,
      strictTypes: false,
    }).compile<Config>(schema);
    validators.set(schema, validate);
  }
  return validate;
}

function faultOf(error: ErrorObject, places: Places): ConfigFault {
  const path = pathOf(error);
  const { parentSchema = {}, keyword, params, data } = error;
  if (keyword === "additionalProperties") {
    const unknown = String(params["additionalProperty"]);
    const known = Object.keys((parentSchema["properties"] ?? {}) as object);
    const near = nearest(unknown, known);
    const hint = near === undefined ? `; there are ${known.join(", ")}` : `; did you mean "${near}"?`;
    return { ...places.ofKey(path, unknown), message: `"${unknown}" is not known here${hint}` };
  }
  const name = path.length === 0 ? "the configuration" : `"${path.join(".")}"`;
  if (keyword === "required") {
    const missing = String(params["missingProperty"]);
    return { ...places.ofValue(path), message: `${name} needs "${missing}"` };
  }
  if (keyword === "enum") {
    const allowed = (params["allowedValues"] as readonly unknown[]).map(String);
    const near = typeof data === "string" ? nearest(data, allowed) : undefined;
    const hint = near === undefined ? "" : `; did you mean "${near}"?`;
    return {
      ...places.ofValue(path),
      message: `${name} must be one of ${allowed.join(", ")}, not ${shown(data)}${hint}`,
    };
  }
  const title = parentSchema["title"];
  const expected =
    typeof title === "string" ? title : (error.message ?? "something else").replace(/^must be /, "");
  return { ...places.ofValue(path), message: `${name} must be ${expected}, not ${shown(data)}` };
}

/** Both branches of an `anyOf` complain beside the `anyOf` itself, which says it best. */
function isShadowed(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  return all.some(
    (other) =>
      other !== error && other.keyword === "anyOf" && error.schemaPath.startsWith(`${other.schemaPath}/`),
  );
}

/** The same thing said by two keywords of one schema is said once. */
function merged(faults: readonly ConfigFault[]): ConfigFault[] {
  const seen = new Set<string>();
  return faults.filter(({ line, column, message }) => {
    const key = `${line}:${column}:${message}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

/** RFC 6901: a JSON pointer's steps. */
function pathOf({ instancePath }: ErrorObject): string[] {
  return instancePath
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a mapping";
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const DEFAULT_FILE = "holdfast.yaml";
/** `${NAME}` in a text: secrets need not be in the file. */
const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;
const STRUCTURAL: ReadonlySet<string> = new Set(["if", "allOf", "const"]);
const validators = new WeakMap<Schema, ValidateFunction<Config>>();
