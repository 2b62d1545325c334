import type { SelectorBody, SessionQuery, SessionRow } from "../../src/console/contract.ts";

/** What the live list shows; the same conditions, with the same meaning, that `GET /api/sessions` takes. */
export type Filter = Omit<SessionQuery, "after" | "limit">;

const TEXTS = ["principal", "mechanism", "node", "tenant", "parent", "q"] as const;
const AGES = ["olderThan", "youngerThan"] as const;
const STATES: readonly string[] = ["negotiating", "established", "suspended"];

export function filterFrom(params: URLSearchParams): Filter {
  const filter: Record<string, string | number> = {};
  for (const name of TEXTS) {
    const value = params.get(name);
    if (value !== null && value !== "") filter[name] = value;
  }
  for (const name of AGES) {
    const value = Number(params.get(name) ?? Number.NaN);
    if (Number.isSafeInteger(value) && value >= 0) filter[name] = value;
  }
  const state = params.get("state");
  if (state !== null && STATES.includes(state)) filter["state"] = state;
  return filter as Filter;
}

export function paramsOf(filter: Filter): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) params.set(name, String(value));
  return params;
}

export function meets(row: SessionRow, filter: Filter, now: number): boolean {
  if (filter.principal !== undefined && row.principal !== filter.principal) return false;
  if (filter.mechanism !== undefined && row.mechanism !== filter.mechanism) return false;
  if (filter.node !== undefined && row.node !== filter.node) return false;
  if (filter.state !== undefined && row.state !== filter.state) return false;
  if (filter.tenant !== undefined && row.tenant !== filter.tenant) return false;
  if (filter.parent !== undefined && row.parent !== filter.parent) return false;
  const ageMs = now - row.createdAt;
  if (filter.olderThan !== undefined && ageMs < filter.olderThan) return false;
  if (filter.youngerThan !== undefined && ageMs > filter.youngerThan) return false;
  return filter.q === undefined || mentions(row, filter.q.toLowerCase());
}

function mentions({ handle, principal = "", label = "", peer }: SessionRow, words: string): boolean {
  return (
    principal.toLowerCase().includes(words) ||
    label.toLowerCase().includes(words) ||
    handle.includes(words) ||
    (peer.address ?? "").includes(words) ||
    (peer.agent ?? "").toLowerCase().includes(words)
  );
}

/** Whom a revocation of what the filter shows means. */
export interface Meant {
  readonly selector: SelectorBody;
  /** False: exactly the sessions listed now. True: also those being made while it runs. */
  readonly standing: boolean;
}

/** A filter by state, age or words has no selector of its own: then the sessions themselves are named. */
export function meantBy(filter: Filter, listed: () => readonly string[]): Meant {
  const { q, state, olderThan, youngerThan, ...conditions } = filter;
  if ([q, state, olderThan, youngerThan].some((one) => one !== undefined))
    return { selector: { handle: listed() }, standing: false };
  return { selector: Object.keys(conditions).length === 0 ? { all: true } : conditions, standing: true };
}

/** `principal:ada older:2h rest` typed as words: conditions are taken out, what is left stays text. */
export function readWords(text: string): { conditions: Filter; rest: string } {
  const conditions: Record<string, string | number> = {};
  const rest: string[] = [];
  for (const word of text.split(/\s+/)) {
    const colon = word.indexOf(":");
    const name = SHORT[word.slice(0, colon)] ?? "";
    const value = word.slice(colon + 1);
    const spanMs = readSpan(value);
    if (colon < 1 || name === "" || value === "") rest.push(word);
    else if (name === "state") {
      if (STATES.includes(value)) conditions["state"] = value;
      else rest.push(word);
    } else if (name !== "olderThan" && name !== "youngerThan") conditions[name] = value;
    else if (spanMs === undefined) rest.push(word);
    else conditions[name] = spanMs;
  }
  return { conditions: conditions as Filter, rest: rest.join(" ").trim() };
}

/** `90s`, `15m`, `2h`, `3d`. */
function readSpan(text: string): number | undefined {
  const match = /^(\d{1,6})([smhd])$/.exec(text);
  const unit = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? ""];
  return unit === undefined ? undefined : Number(match?.[1]) * unit;
}

const SHORT: Readonly<Record<string, string>> = {
  principal: "principal",
  user: "principal",
  mechanism: "mechanism",
  mech: "mechanism",
  node: "node",
  tenant: "tenant",
  parent: "parent",
  state: "state",
  is: "state",
  older: "olderThan",
  younger: "youngerThan",
};
