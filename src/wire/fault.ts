/**
 * Why bytes from a peer were not accepted.
 * `malformed`: they break the format. `unsupported`: well formed, but not something we do. `misbehaved`: legal bytes at
 * the wrong moment. `too-large`: over a bound of ours.
 */
export interface Fault {
  readonly fault: "malformed" | "unsupported" | "misbehaved" | "too-large";
  /** Offset of the offending byte within what was decoded. */
  readonly at: number;
  readonly why: string;
}

export function fault(kind: Fault["fault"], at: number, why: string): Fault {
  return { fault: kind, at, why };
}

export function isFault(value: unknown): value is Fault {
  return typeof value === "object" && value !== null && "fault" in value && "why" in value;
}
