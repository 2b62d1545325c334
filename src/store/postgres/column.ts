import { createHash } from "node:crypto";

/**
 * A text as PostgreSQL can keep and index it, different for different texts: it has no NUL and no unpaired surrogate,
 * and what is longer than an index entry may be is kept by its hash. Only ever compared, never read back.
 */
export function column(text: string): string {
  if (text.length <= LONGEST && PLAIN.test(text)) return text;
  const escaped = text.replace(
    ESCAPED,
    (character) => `\\${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  if (escaped.length <= LONGEST) return escaped;
  return `\\#${createHash("sha256").update(escaped).digest("base64url")}`;
}

/** At most three bytes each: an entry of a B-tree holds 2,704. */
const LONGEST = 400;
const PLAIN = /^[^\0\\\p{Cs}]*$/u;
const ESCAPED = /[\0\\\p{Cs}]/gu;
