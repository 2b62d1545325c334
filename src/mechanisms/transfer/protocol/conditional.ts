import { parseHttpDate } from "./fields.ts";
import type { RequestHead } from "./messages.ts";

/** What a representation is known by. */
export interface Validators {
  /** With its quotes; begins with W/ when weak. */
  readonly etag: string;
  /** ms since 1970. */
  readonly lastModified?: number;
}

export type Precondition = "go-on" | "not-modified" | "failed";

/** RFC 9110 §13.2.2, in its order of precedence, for GET and HEAD. */
export function judgePreconditions(head: RequestHead, known: Validators): Precondition {
  const modified =
    known.lastModified === undefined ? undefined : Math.floor(known.lastModified / 1000) * 1000;
  const ifMatch = head.header("if-match");
  if (ifMatch !== undefined) {
    if (!listMatches(ifMatch, known.etag, strongEqual)) return "failed";
  } else {
    const since = dateOf(head.header("if-unmodified-since"));
    if (since !== undefined && modified !== undefined && modified > since) return "failed";
  }
  const ifNoneMatch = head.header("if-none-match");
  if (ifNoneMatch !== undefined)
    return listMatches(ifNoneMatch, known.etag, weakEqual) ? "not-modified" : "go-on";
  const since = dateOf(head.header("if-modified-since"));
  return since !== undefined && modified !== undefined && modified <= since ? "not-modified" : "go-on";
}

/**
 * RFC 9110 §13.1.5: whether a Range may be honoured. The comparison is strong: a weak tag never matches, and a date
 * only where it equals ours exactly and is old enough not to hide a second change within its second.
 */
export function ifRangeHolds(head: RequestHead, known: Validators, now: number): boolean {
  const field = head.header("if-range");
  if (field === undefined) return true;
  const text = field.trim();
  if (text.startsWith('"') || text.startsWith("W/")) return strongEqual(text, known.etag);
  const date = parseHttpDate(text);
  if (date === undefined || known.lastModified === undefined) return false;
  return date === Math.floor(known.lastModified / 1000) * 1000 && now - known.lastModified >= 60_000;
}

function strongEqual(a: string, b: string): boolean {
  return a === b && !a.startsWith("W/") && a.startsWith('"');
}

function weakEqual(a: string, b: string): boolean {
  return a.replace(/^W\//, "") === b.replace(/^W\//, "");
}

function listMatches(field: string, etag: string, equal: (a: string, b: string) => boolean): boolean {
  if (field.trim() === "*") return true;
  return (field.match(/(?:W\/)?"[^"]*"/g) ?? []).some((one) => equal(one, etag));
}

function dateOf(field: string | undefined): number | undefined {
  return field === undefined ? undefined : parseHttpDate(field.trim());
}
