import type { Handle, Selector, State } from "../kernel/index.ts";
import { parseHandle } from "../kernel/index.ts";
import type { SessionQuery } from "./contract.ts";
import { ProblemError } from "./http.ts";

/** A selector from a body. Unknown members are refused, so that a typo cannot widen what is meant. */
export function parseSelector(value: unknown): Selector {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("selector", "an object");
  const selector: Record<string, unknown> = {};
  for (const [name, one] of Object.entries(value)) {
    if (name === "all") {
      if (one !== true) throw bad("selector.all", "true");
      selector["all"] = true;
    } else if (name === "handle" || name === "except") {
      selector[name] = Array.isArray(one)
        ? one.map((each) => handle(`selector.${name}`, each))
        : handle(`selector.${name}`, one);
    } else if (name === "parent") selector[name] = handle("selector.parent", one);
    else if (TEXTS.has(name)) selector[name] = text(`selector.${name}`, one);
    else
      throw new ProblemError(
        400,
        "invalid-argument",
        `A selector has no ${name}; it has ${SELECTOR_NAMES.join(", ")}.`,
      );
  }
  return selector;
}

export function parseQuery(params: URLSearchParams): SessionQuery & { limit: number } {
  const query: Record<string, unknown> = { limit: 100 };
  for (const [name, value] of params) {
    if (name === "limit") {
      const limit = Number(value);
      if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
        throw bad("limit", "a whole number from 1 to 1000");
      query[name] = limit;
    } else if (name === "olderThan" || name === "youngerThan") {
      if (!/^\d{1,15}$/.test(value)) throw bad(name, "a number of milliseconds");
      query[name] = Number(value);
    } else if (name === "state") {
      if (!STATES.has(value as State)) throw bad(name, [...STATES].join(", "));
      query[name] = value;
    } else if (name === "parent") query[name] = handle(name, value);
    else if (name === "after") {
      if (!/^\d{1,15}\.[0-9a-z]{20}$/.test(value)) throw bad(name, "what an earlier page gave as next");
      query[name] = value;
    } else if (QUERY_TEXTS.has(name)) query[name] = text(name, value);
    else throw new ProblemError(400, "invalid-argument", `There is no filter ${name}.`);
  }
  return query as unknown as SessionQuery & { limit: number };
}

export function text(name: string, value: unknown): string {
  if (typeof value !== "string" || value === "" || value.length > 512)
    throw bad(name, "a text of 1 to 512 characters");
  return value;
}

export function handle(name: string, value: unknown): Handle {
  const parsed = typeof value === "string" ? parseHandle(value) : undefined;
  if (parsed === undefined) throw bad(name, "a session's handle: 20 characters of 0-9 and a-z");
  return parsed;
}

export function optionalInstant(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw bad(name, "milliseconds since 1970");
  return value;
}

function bad(name: string, wanted: string): ProblemError {
  return new ProblemError(400, "invalid-argument", `${name} must be ${wanted}.`);
}

const TEXTS = new Set(["principal", "role", "mechanism", "node", "device", "tenant"]);
const SELECTOR_NAMES = [...TEXTS, "handle", "parent", "except", "all"];
const QUERY_TEXTS = new Set(["principal", "mechanism", "node", "tenant", "q"]);
const STATES: ReadonlySet<State> = new Set(["negotiating", "established", "suspended", "ended"]);
