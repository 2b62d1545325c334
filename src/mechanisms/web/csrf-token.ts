import { createHash, timingSafeEqual } from "node:crypto";
import type { SessionRecord } from "../../kernel/index.ts";

/**
 * The synchronizer token of a session, for those who must have one beside the check of a request's origin. It is derived
 * from what the store keeps of the session's secret, so it need not be stored, says nothing of the secret, and ends with
 * the session. 43 characters of base64url.
 */
export function csrfToken({ credentials }: SessionRecord): string | undefined {
  return credentials.current === undefined ? undefined : derived(credentials.current);
}

/** Whether `given` is the session's token, or was before its secret changed: a form may be older than the last rotation. */
export function isCsrfToken({ credentials }: SessionRecord, given: unknown): boolean {
  if (typeof given !== "string" || given.length !== TOKEN_LENGTH) return false;
  const { current, previous, retired } = credentials;
  const keys = [current, previous?.key, ...retired.map((one) => one.key)];
  return keys.some((key) => key !== undefined && same(derived(key), given));
}

function derived(key: string): string {
  return createHash("sha256").update(`holdfast csrf ${key}`).digest("base64url");
}

function same(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

const TOKEN_LENGTH = 43;
