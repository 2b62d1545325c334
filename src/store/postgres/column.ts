import { createHash } from "node:crypto";

/**
 * A text as PostgreSQL can keep and index it, different for different texts: it has no NUL and no unpaired surrogate,
 * and what is longer than an index entry may be is kept by its hash. Only ever compared, never read back.
 */
export function column(text: string): string {
  if (text.length <= LONGEST && SIMPLE.test(text)) return text;
  if (text.length <= LONGEST && PLAIN.test(text)) return text;
  const escaped = text.replace(
    ESCAPED,
    (character) => `\\${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  if (escaped.length <= LONGEST) return escaped;
  return `\\#${createHash("sha256").update(escaped).digest("base64url")}`;
}

/** Texts as a parameter of the type text[]: what pg would make of them, quicker. */
export function textArray(texts: readonly string[]): string {
  if (texts.length === 0) return "{}";
  return `{"${texts.map((text) => (UNQUOTED.test(text) ? text : text.replace(QUOTED, "\\$&"))).join('","')}"}`;
}

/**
 * Texts that are JSON come and go joined by a character that JSON never holds unescaped: an array of them would be
 * escaped and unescaped a second time, and a row for each costs more than what is in it.
 */
export const SEPARATOR = "\u001e";
export const SEPARATOR_SQL = "E'\\x1e'";

/** At most three bytes each: an entry of a B-tree holds 2,704. */
const LONGEST = 400;
/** Most texts, and four times faster to test. */
const SIMPLE = /^[ -[\]-~]*$/;
const PLAIN = /^[^\0\\\p{Cs}]*$/u;
/** What an array's text can hold between quotes as it is. */
const UNQUOTED = /^[\w-]*$/;
const QUOTED = /["\\]/g;
const ESCAPED = /[\0\\\p{Cs}]/gu;
