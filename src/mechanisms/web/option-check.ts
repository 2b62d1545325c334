import { HoldfastError } from "../../kernel/index.ts";
import type { CookieOptions, CsrfOptions, SessionsOptions } from "./options.ts";

/**
 * Refuses what types would have refused: most applications that misspell an option are written without them, and a
 * limit that is silently ignored is worse than none.
 * @throws HoldfastError `invalid-argument`, naming the option and what it may be.
 */
export function assertOptions(options: SessionsOptions): void {
  assertMembers("", options, OPTIONS);
  const { store, kernel, preset, limits, cookie, csrf } = options;
  if (store !== undefined && kernel !== undefined)
    throw invalid("store", "beside a kernel", "left out: a kernel has its own");
  if (store !== undefined && !hasMethods(store, ["find", "create", "update"]))
    throw invalid("store", store, 'a store, such as redis(url) from "holdfast/store/redis"');
  if (kernel !== undefined && !hasMethods(kernel, ["verify", "establish"]))
    throw invalid("kernel", kernel, "what createKernel returned");
  assertOneOf("preset", preset, ["aal1", "aal2", "aal3"]);
  if (limits !== undefined) {
    assertMembers("limits.", limits, { perPrincipal: true, onLimit: true });
    if (!(Number.isInteger(limits.perPrincipal) && limits.perPrincipal > 0))
      throw invalid("limits.perPrincipal", limits.perPrincipal, "a whole number above 0");
    if (limits.onLimit === undefined)
      throw invalid("limits.onLimit", undefined, '"evict-oldest" or "refuse"');
    assertOneOf("limits.onLimit", limits.onLimit, ["evict-oldest", "refuse"]);
  }
  if (cookie !== undefined) assertCookie(cookie);
  if (csrf !== undefined) assertCsrf(csrf);
  assertBoolean("bearer", options.bearer);
  assertWhole("maxCookieHeaderBytes", options.maxCookieHeaderBytes, 1);
  assertWhole("trustedProxies", options.trustedProxies, 0);
  const initial: unknown = Reflect.get(options, "initial");
  if (typeof initial === "function") throw invalid("initial", "a function", "the data itself, as JSON");
  if (options.onFault !== undefined && typeof options.onFault !== "function")
    throw invalid("onFault", options.onFault, "a function");
}

function assertCookie(cookie: CookieOptions): void {
  assertMembers("cookie.", cookie, COOKIE);
  assertOneOf("cookie.sameSite", cookie.sameSite, ["Strict", "Lax", "None"]);
  assertBoolean("cookie.partitioned", cookie.partitioned);
  assertBoolean("cookie.persistent", cookie.persistent);
  if (cookie.weaken === undefined) return;
  assertMembers("cookie.weaken.", cookie.weaken, WEAKEN);
  assertReason("cookie.weaken.why", cookie.weaken.why);
  assertBoolean("cookie.weaken.insecure", cookie.weaken.insecure);
  assertBoolean("cookie.weaken.scriptable", cookie.weaken.scriptable);
}

function assertCsrf(csrf: CsrfOptions): void {
  assertMembers("csrf.", csrf, { trustedOrigins: true, forwarded: true, off: true });
  if (csrf.trustedOrigins !== undefined && !Array.isArray(csrf.trustedOrigins))
    throw invalid("csrf.trustedOrigins", csrf.trustedOrigins, 'a list such as ["https://app.example"]');
  assertBoolean("csrf.forwarded", csrf.forwarded);
  if (csrf.off === undefined) return;
  assertMembers("csrf.off.", csrf.off, { why: true });
  assertReason("csrf.off.why", csrf.off.why);
}

/** Complete by their types: an option that is added is missing here until it is listed. */
const OPTIONS: Readonly<Record<keyof SessionsOptions | "initial", true>> = {
  store: true,
  kernel: true,
  preset: true,
  idle: true,
  absolute: true,
  limits: true,
  cookie: true,
  csrf: true,
  bearer: true,
  rotateEvery: true,
  remember: true,
  maxCookieHeaderBytes: true,
  trustedProxies: true,
  onFault: true,
  initial: true,
};

const COOKIE: Readonly<Record<keyof CookieOptions, true>> = {
  name: true,
  sameSite: true,
  partitioned: true,
  persistent: true,
  weaken: true,
};

const WEAKEN: Readonly<Record<keyof NonNullable<CookieOptions["weaken"]>, true>> = {
  why: true,
  domain: true,
  path: true,
  insecure: true,
  scriptable: true,
};

/** @throws HoldfastError `invalid-argument` when `value` is no object, or has a member that is not `known`. */
export function assertMembers(path: string, value: unknown, known: Readonly<Record<string, true>>): void {
  const names = Object.keys(known).join(", ");
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(path.slice(0, -1) || "options", value, `an object with some of ${names}`);
  for (const name of Object.keys(value)) {
    if (Object.hasOwn(known, name)) continue;
    throw new HoldfastError("invalid-argument", `There is no option ${path}${name}; there are ${names}.`, {
      detail: { name: path + name },
    });
  }
}

function assertOneOf(name: string, value: unknown, known: readonly string[]): void {
  if (value !== undefined && !known.some((one) => one === value))
    throw invalid(name, value, `one of ${known.join(", ")}`);
}

function assertBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw invalid(name, value, "true or false");
}

function assertWhole(name: string, value: unknown, least: number): void {
  if (value !== undefined && !(Number.isInteger(value) && Number(value) >= least))
    throw invalid(name, value, `a whole number, at least ${least}`);
}

function assertReason(name: string, value: unknown): void {
  if (typeof value !== "string" || value.trim() === "") throw invalid(name, value, "the reason, in words");
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    names.every((name) => typeof Reflect.get(value, name) === "function")
  );
}

export function invalid(name: string, value: unknown, wanted: string): HoldfastError {
  const shown = typeof value === "object" && value !== null ? "an object" : JSON.stringify(value);
  return new HoldfastError("invalid-argument", `The option ${name} must be ${wanted}; it is ${shown}.`, {
    detail: { name, value },
  });
}
