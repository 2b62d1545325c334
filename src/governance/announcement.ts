import type { Handle, JournalEntry, Json, Selector } from "../kernel/index.ts";

/** What the journal says of a revocation or lock before its first session ends. */
export interface Announcement {
  readonly id: string;
  readonly kind: "revocation" | "lock";
  readonly at: number;
  readonly by?: string;
  readonly reason: string;
  readonly selector: Selector;
}

/** `undefined` for every other entry. */
export function announcementOf(entry: JournalEntry): Announcement | undefined {
  const id = idOf(entry);
  const selector = selectorOf(entry.detail?.["selector"]);
  const reason = entry.detail?.["reason"];
  if (id === undefined || selector === undefined || typeof reason !== "string") return undefined;
  const { at, by } = entry;
  return { ...id, at, reason, selector, ...(by !== undefined && { by }) };
}

/** The id of the revocation of which this entry says that all its sessions have ended; `undefined` for any other. */
export function completionOf(entry: JournalEntry): string | undefined {
  return typeof entry.detail?.["sessions"] === "number" ? idOf(entry)?.id : undefined;
}

function idOf({ phase, detail }: JournalEntry): Pick<Announcement, "id" | "kind"> | undefined {
  if (phase !== "governance") return undefined;
  for (const kind of ["revocation", "lock"] as const) {
    const id = detail?.[kind];
    if (typeof id === "string") return { id, kind };
  }
  return undefined;
}

/** A journal is trusted to hold what a kernel wrote, of this version or another: what is not understood is left out. */
function selectorOf(value: Json | undefined): Selector | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const selector: Selector = {};
  for (const [name, one] of Object.entries<Json>(value as { [key: string]: Json })) {
    if (name === "all" && one === true) Object.assign(selector, { all: true });
    if (TEXTS.includes(name) && typeof one === "string") Object.assign(selector, { [name]: one });
    if (HANDLES.includes(name)) Object.assign(selector, { [name]: handlesOf(one) });
  }
  return selector;
}

function handlesOf(value: Json): Handle | readonly Handle[] {
  if (Array.isArray(value)) return value.filter((one): one is Handle => typeof one === "string");
  return (typeof value === "string" ? value : "") as Handle;
}

const TEXTS = ["principal", "role", "mechanism", "node", "device", "tenant", "parent"];
const HANDLES = ["handle", "except"];
