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
  if (credentials.pending === key || credentials.offered?.includes(key) === true) return "pending";
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
  const { current, previous } = credentials;
  const gone: RetiredCredential[] = [];
  if (previous !== undefined) gone.push({ key: previous.key, quietUntil: previous.until });
  for (const offer of offers(credentials)) gone.push({ key: offer, quietUntil: now });
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
  const gone = [credentials.current, ...offers(credentials), credentials.previous?.key].filter(
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

/**
 * A new secret handed out but not yet seen: the current one stays good until a new one is used. So do the offers before
 * it, a few: whoever asks twice may hold the first answer when the second is on its way.
 */
export function offered(
  credentials: Credentials,
  key: CredentialKey,
  now: number,
  limits: { kept: number },
): Credentials {
  const { current, since, previous } = credentials;
  const earlier = offers(credentials);
  const [stay, gone] = [earlier.slice(0, OFFERS - 1), earlier.slice(OFFERS - 1)];
  return {
    ...(current !== undefined && { current }),
    ...(since !== undefined && { since }),
    ...(previous !== undefined && { previous }),
    pending: key,
    ...(stay.length > 0 && { offered: stay }),
    retired: keep(
      gone.map((one) => ({ key: one, quietUntil: now })),
      credentials,
      limits.kept,
    ),
  };
}

/**
 * First use of an offered secret (the newest unless said): it is current from here on, and the one before is spent. For
 * `quietMs` its use is no alarm, because who asked twice may be heard the second time after the first was answered. The
 * other offers are spent with it: who uses one of them has it from an answer that was not for him. Undefined when it is
 * no offer.
 */
export function confirmed(
  credentials: Credentials,
  key: CredentialKey | undefined,
  now: number,
  limits: { kept: number; quietMs: number },
): Credentials | undefined {
  const chosen = key ?? credentials.pending;
  const all = offers(credentials);
  if (chosen === undefined || !all.includes(chosen)) return undefined;
  const { current, previous } = credentials;
  const spent = [current, previous?.key].filter((one) => one !== undefined);
  const gone = [
    ...spent.map((one) => ({ key: one, quietUntil: now + limits.quietMs })),
    ...all.filter((one) => one !== chosen).map((one) => ({ key: one, quietUntil: now })),
  ];
  return { current: chosen, since: now, retired: keep(gone, credentials, limits.kept) };
}

function offers({ pending, offered: earlier = [] }: Credentials): CredentialKey[] {
  return pending === undefined ? [] : [pending, ...earlier];
}

/** Offers that are good at one time. */
const OFFERS = 3;

function keep(
  newest: Credentials["retired"],
  credentials: Credentials,
  kept: number,
): Credentials["retired"] {
  return [...newest, ...credentials.retired].slice(0, kept);
}
