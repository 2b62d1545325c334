/** The least and the greatest of a number of values; both 0 of none. */
export interface Spread {
  readonly min: number;
  readonly max: number;
}

export interface KeyName {
  /** The ticket's first 16 bytes in hexadecimal. */
  readonly name: string;
  /** Full handshakes whose tickets began with it. */
  readonly seen: number;
}

/** What the beginnings of tickets tell of the keys that sealed them. */
export interface KeyNames {
  readonly beginning: "name" | "random" | "reference" | "unknown";
  readonly keyNames?: readonly KeyName[];
}

/**
 * RFC 5077 §4 recommends that a ticket begin with a name of 16 bytes for its key; OpenSSL, BoringSSL, GnuTLS, nginx and
 * HAProxy do it, others begin with something random. One list of tickets for each full handshake.
 */
export function keyNamesOf(handshakes: readonly (readonly Buffer[])[]): KeyNames {
  const tickets = handshakes.flat();
  if (tickets.length === 0) return { beginning: "unknown" };
  if (tickets.every((ticket) => ticket.length <= LONGEST_REFERENCE)) return { beginning: "reference" };
  const names = handshakes.map((list) => list.map((ticket) => ticket.toString("hex", 0, NAME_BYTES)));
  const counts = new Map<string, number>();
  for (const list of names) for (const name of new Set(list)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const many = names.filter((list) => list.length > 1);
  const isShared = many.some((list) => new Set(list).size < list.length);
  const isRepeated = [...counts.values()].some((seen) => seen > 1);
  if (!isShared && !isRepeated) {
    // One connection is served by one process with one current key: if even its tickets begin differently, it is no name.
    return { beginning: many.length > 0 ? "random" : "unknown" };
  }
  const keyNames = [...counts].map(([name, seen]) => ({ name, seen })).sort((a, b) => b.seen - a.seen);
  return { beginning: "name", keyNames };
}

export function spreadOf(values: readonly number[]): Spread {
  return values.length === 0 ? { min: 0, max: 0 } : { min: Math.min(...values), max: Math.max(...values) };
}

const NAME_BYTES = 16;
/** A key's name, an IV, the least of a session and a MAC are more than 64 bytes in every library there is. */
const LONGEST_REFERENCE = 64;
