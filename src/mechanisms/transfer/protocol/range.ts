/** RFC 9110 §14: which bytes a Range field asks for. */
export interface ByteRange {
  readonly start: number;
  /** The byte behind the last one. */
  readonly end: number;
}

export type RangeReading =
  /** No Range, an unknown unit, or a field that is not well-formed: answer as if it were not there. */
  | { readonly kind: "whole" }
  | { readonly kind: "unsatisfiable" }
  | { readonly kind: "ranges"; readonly ranges: readonly ByteRange[] };

export interface RangeLimits {
  /** More members than this in the field, or more parts after coalescing, and the whole is sent instead. */
  readonly members: number;
  readonly parts: number;
}

const DEFAULT_RANGE_LIMITS: RangeLimits = { members: 256, parts: 32 };

/**
 * Reads a Range field for a representation of `size` bytes. Ranges that overlap, or lie closer together than the
 * headers of a part are long, are joined (§15.3.7.2 asks for it), so that a hostile list can never cost more than the file.
 */
export function readRange(
  field: string | undefined,
  size: number,
  limits: RangeLimits = DEFAULT_RANGE_LIMITS,
): RangeReading {
  if (field === undefined) return { kind: "whole" };
  const match = /^\s*bytes\s*=(.*)$/i.exec(field);
  if (match?.[1] === undefined) return { kind: "whole" };
  const members = match[1].split(",").map((one) => one.trim());
  // RFC 9110 §5.6.1: empty list members are to be ignored.
  const specs = members.filter((one) => one !== "");
  if (specs.length === 0 || members.length > limits.members) return { kind: "whole" };
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const parsed = parseSpec(spec, size);
    if (parsed === "malformed") return { kind: "whole" };
    if (parsed !== "unsatisfiable") ranges.push(parsed);
  }
  if (ranges.length === 0) return { kind: "unsatisfiable" };
  const joined = coalesce(ranges);
  return joined.length > limits.parts ? { kind: "whole" } : { kind: "ranges", ranges: joined };
}

function parseSpec(spec: string, size: number): ByteRange | "malformed" | "unsatisfiable" {
  const match = /^(\d*)-(\d*)$/.exec(spec);
  const [, first, last] = match ?? [];
  if (first === undefined || last === undefined || (first === "" && last === "")) return "malformed";
  if (first === "") {
    const suffix = decimal(last);
    return suffix === 0 || size === 0 ? "unsatisfiable" : { start: Math.max(0, size - suffix), end: size };
  }
  const start = decimal(first);
  if (last !== "" && (decimal(last) < start || longer(first, last))) return "malformed";
  if (start >= size) return "unsatisfiable";
  return { start, end: last === "" ? size : Math.min(decimal(last) + 1, size) };
}

/** Positions beyond what a number holds exactly are beyond any file as well. */
function decimal(digits: string): number {
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER - 1);
}

function longer(first: string, last: string): boolean {
  const [a, b] = [first.replace(/^0+/, ""), last.replace(/^0+/, "")];
  return a.length > b.length || (a.length === b.length && a > b);
}

/** In the order of the first byte each group asked for, which keeps a well-meant order where nothing was joined. */
function coalesce(ranges: readonly ByteRange[]): ByteRange[] {
  const order = ranges.map((range, index) => ({ ...range, index })).sort((a, b) => a.start - b.start);
  const joined: { start: number; end: number; index: number }[] = [];
  for (const range of order) {
    const last = joined.at(-1);
    if (last !== undefined && range.start <= last.end + PART_OVERHEAD) {
      last.end = Math.max(last.end, range.end);
      last.index = Math.min(last.index, range.index);
    } else {
      joined.push({ ...range });
    }
  }
  return joined.sort((a, b) => a.index - b.index).map(({ start, end }) => ({ start, end }));
}

const PART_OVERHEAD = 80;
