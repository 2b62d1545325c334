import type { Credentials, RetiredCredential } from "./record.ts";
import type { CredentialKey } from "./secret.ts";

/** Which of a record's slots a presented key is in, and whether that slot still opens it. */
export type Slot =
  | "current"
  /** Offered and now seen for the first time: confirm it. */
  | "pending"
  /** Replaced, and within its grace. */
  | "previous"
  /** Replaced on a change of privilege moments ago: refused, without alarm. */
  | "retired"
  /** Used after its time: somebody else holds a copy. */
  | "reused"
  | "none";

export function slotOf(credentials: Credentials, key: CredentialKey, now: number): Slot {
  if (credentials.current === key) return "current";
  if (credentials.pending === key) return "pending";
  if (credentials.previous?.key === key) return now < credentials.previous.until ? "previous" : "reused";
  const retired = credentials.retired.find((one) => one.key === key);
  if (retired === undefined) return "none";
  return now < retired.quietUntil ? "retired" : "reused";
}

/** Plain rotation: the old secret stays good for `graceMs`, so that requests under way arrive. */
export function rotated(
  credentials: Credentials,
  key: CredentialKey,
  now: number,
  limits: { graceMs: number; kept: number },
): Credentials {
  const { current, pending, previous } = credentials;
  const gone: RetiredCredential[] = [];
  if (previous !== undefined) gone.push({ key: previous.key, quietUntil: previous.until });
  if (pending !== undefined) gone.push({ key: pending, quietUntil: now });
  return {
    current: key,
    since: now,
    ...(current !== undefined && { previous: { key: current, until: now + limits.graceMs } }),
    retired: keep(gone, credentials, limits.kept),
  };
}

/** A change of privilege: every older secret is refused at once; `quietMs` only silences the alarm for a moment. */
export function superseded(
  credentials: Credentials,
  key: CredentialKey,
  now: number,
  limits: { quietMs: number; kept: number },
): Credentials {
  const quietUntil = now + limits.quietMs;
  const gone = [credentials.current, credentials.pending, credentials.previous?.key].filter(
    (one) => one !== undefined,
  );
  return {
    current: key,
    since: now,
    retired: keep(
      gone.map((one) => ({ key: one, quietUntil })),
      credentials,
      limits.kept,
    ),
  };
}

/** A new secret handed out but not yet seen: the current one stays good until the new one is used. */
export function offered(
  credentials: Credentials,
  key: CredentialKey,
  now: number,
  limits: { kept: number },
): Credentials {
  const { current, since, previous, pending } = credentials;
  return {
    pending: key,
    retired: keep(pending === undefined ? [] : [{ key: pending, quietUntil: now }], credentials, limits.kept),
    ...(current !== undefined && { current }),
    ...(since !== undefined && { since }),
    ...(previous !== undefined && { previous }),
  };
}

/** First use of the offered secret: it is current from here on, and the one before is spent. */
export function confirmed(credentials: Credentials, now: number, limits: { kept: number }): Credentials {
  const { current, pending, previous } = credentials;
  if (pending === undefined) return credentials;
  const gone = [current, previous?.key].filter((one) => one !== undefined);
  return {
    current: pending,
    since: now,
    retired: keep(
      gone.map((key) => ({ key, quietUntil: now })),
      credentials,
      limits.kept,
    ),
  };
}

function keep(
  newest: Credentials["retired"],
  credentials: Credentials,
  kept: number,
): Credentials["retired"] {
  return [...newest, ...credentials.retired].slice(0, kept);
}
