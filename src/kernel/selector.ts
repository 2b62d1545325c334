import { HoldfastError } from "./errors.ts";
import type { SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";

/** Which sessions are meant: all named conditions hold. Values in an array are alternatives. */
export interface Selector {
  readonly handle?: Handle | readonly Handle[];
  readonly principal?: string;
  readonly role?: string;
  readonly mechanism?: string;
  readonly node?: string;
  readonly device?: string;
  readonly tenant?: string;
  readonly parent?: Handle;
  /** Spared, whatever else holds, but not from ending with the session it was opened under. */
  readonly except?: Handle | readonly Handle[];
  /** Everything. Must be said in words: an empty selector is refused. */
  readonly all?: true;
}

const CONDITIONS = [
  "handle",
  "principal",
  "role",
  "mechanism",
  "node",
  "device",
  "tenant",
  "parent",
  "all",
] as const;

const KNOWN: ReadonlySet<string> = new Set([...CONDITIONS, "except"]);

/**
 * A mistake must not widen what is meant: neither a typo, nor a condition whose value is missing, such as the principal
 * of somebody who is not signed in.
 * @throws HoldfastError `invalid-argument` when no condition is named, one is not known, or one has no value.
 */
export function assertSelective(selector: Selector): void {
  for (const [name, value] of Object.entries(selector)) {
    if (!KNOWN.has(name)) throw unselective(`there is no condition ${name}`, { [name]: value });
    const several = (name === "handle" || name === "except") && Array.isArray(value);
    if (name === "all" ? value !== true : typeof value !== "string" && !several)
      throw unselective(`${name} is ${value === undefined ? "undefined" : JSON.stringify(value)}`, {
        [name]: value,
      });
  }
  if (CONDITIONS.every((name) => selector[name] === undefined)) throw unselective("it names none", {});
}

function unselective(why: string, detail: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError(
    "invalid-argument",
    `A selector names at least one of ${CONDITIONS.join(", ")}, each with a value; ${why}. To mean every session say {all: true}.`,
    { detail },
  );
}

export function matches(selector: Selector, record: SessionRecord): boolean {
  if (selector.handle !== undefined && !oneOf(selector.handle, record.handle)) return false;
  if (selector.principal !== undefined && record.principal !== selector.principal) return false;
  if (selector.role !== undefined && record.roles?.includes(selector.role) !== true) return false;
  if (selector.mechanism !== undefined && record.mechanism !== selector.mechanism) return false;
  if (selector.node !== undefined && record.owner?.node !== selector.node) return false;
  if (selector.device !== undefined && record.peer.device !== selector.device) return false;
  if (selector.tenant !== undefined && record.tenant !== selector.tenant) return false;
  if (selector.parent !== undefined && record.parent !== selector.parent) return false;
  return selector.except === undefined || !oneOf(selector.except, record.handle);
}

/** The one condition of `selector` that names a principal as a whole, or `undefined`. */
export function principalOnly(selector: Selector): string | undefined {
  const others = CONDITIONS.filter((name) => name !== "principal" && selector[name] !== undefined);
  return others.length === 0 ? selector.principal : undefined;
}

/** The index term that narrows a listing most; `undefined` when the handles themselves are named. */
export function narrowestTerm(selector: Selector): string | undefined {
  if (selector.handle !== undefined) return undefined;
  if (selector.parent !== undefined) return `c:${selector.parent}`;
  if (selector.principal !== undefined) return `p:${selector.principal}`;
  if (selector.node !== undefined) return `n:${selector.node}`;
  if (selector.mechanism !== undefined) return `m:${selector.mechanism}`;
  return "live";
}

export function handlesOf(value: Handle | readonly Handle[] | undefined): readonly Handle[] {
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}

function oneOf(wanted: Handle | readonly Handle[], handle: Handle): boolean {
  return typeof wanted === "string" ? wanted === handle : wanted.includes(handle);
}
