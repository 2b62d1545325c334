import type { Core } from "./core.ts";
import { HoldfastError } from "./errors.ts";
import type { Feed } from "./feed.ts";
import { expiryOf, judgeStanding } from "./judge.ts";
import type { JournalDraft } from "./journal.ts";
import type { EndOptions, EntryDetails, Established, WriteOptions } from "./requests.ts";
import type { SessionEvent, State } from "./lifecycle.ts";
import { move } from "./lifecycle.ts";
import type { KernelPolicy } from "./policy.ts";
import type { Draft, EndNote, Json, SessionRecord } from "./record.ts";
import type { CredentialKey, Handle } from "./secret.ts";
import { credentialKey, mintSecret, shardOfHandle } from "./secret.ts";

/** How records change: always conditionally on the version read, and never out of `ended`. */
export class Writes {
  readonly #core: Core;
  readonly #feed: Feed;
  readonly #touching = new Set<Handle>();

  constructor(core: Core, feed: Feed) {
    this.#core = core;
    this.#feed = feed;
  }

  /**
   * The one way a live record changes: compute, write conditionally, and replay on newer state after a conflict.
   * `plan` returns the members to change, or `undefined` for nothing to do.
   * @throws HoldfastError `session-ended`, `session-fenced`, `session-conflict`, `illegal-transition`.
   */
  async write(
    start: SessionRecord,
    event: SessionEvent,
    options: WriteOptions,
    plan: (record: SessionRecord, now: number) => Patch | undefined,
  ): Promise<SessionRecord> {
    let record = start;
    for (let attempt = 0; attempt < this.#core.policy.replays; attempt++) {
      const now = this.#core.clock.now();
      if (record.state === "ended" || expiryOf(record, now) !== undefined) throw endedError(record);
      if (options.fence !== undefined && options.fence.epoch !== record.owner?.epoch)
        throw fencedError(record);
      const state = move(record.state, event);
      const patch = plan(record, now);
      if (patch === undefined) return record;
      const next = patched(record, patch, state);
      const outcome = await this.#core.store.update(record, next, [
        this.#core.entry(next, event, { at: now, ...options }),
      ]);
      if (outcome === "updated") return next;
      const found =
        outcome === "conflict" ? await this.#core.store.get(record.handle, { fresh: true }) : undefined;
      if (found === undefined || judgeStanding(found, now, await this.#feed.barriers()) !== undefined)
        throw endedError(record);
      record = found.record;
    }
    throw new HoldfastError(
      "session-conflict",
      `Other writes came first ${this.#core.policy.replays} times in a row; try again.`,
      {
        detail: { handle: start.handle },
      },
    );
  }

  touch(record: SessionRecord): void {
    const now = this.#core.clock.now();
    if (now - record.touchedAt < this.#touchWindowMs(record) || this.#touching.has(record.handle)) return;
    this.#touching.add(record.handle);
    const next = patched(record, activity(record, now));
    // A conflict means that somebody wrote just now, which moved the deadline as well.
    const writing = this.#core.store.update(record, next, []);
    this.#core.inBackground(writing.finally(() => this.#touching.delete(record.handle)));
  }

  /** However long the window, a session in use is written several times within its idle limit. */
  #touchWindowMs(record: SessionRecord): number {
    const { touchMs } = this.#core.policy;
    if (record.idleMs === undefined) return touchMs;
    return Math.min(Math.max(touchMs, record.idleMs / 20), record.idleMs / 4);
  }

  renew(
    record: SessionRecord,
    event: SessionEvent,
    options: WriteOptions,
    plan: (credentials: SessionRecord["credentials"], key: CredentialKey, now: number) => Patch,
  ): Promise<Required<Established>> {
    const secret = mintSecret(shardOfHandle(record.handle));
    const key = credentialKey(secret.reveal()) as CredentialKey;
    return this.write(record, event, options, (current, now) =>
      Object.assign(activity(current, now), plan(current.credentials, key, now)),
    ).then((next) => ({ record: next, secret }));
  }

  /** A plain rotation, unless the secret was replaced since `record` was read: then the answer has none. */
  async renewOnce(
    record: SessionRecord,
    plan: (
      credentials: SessionRecord["credentials"],
      key: CredentialKey,
      now: number,
    ) => SessionRecord["credentials"],
  ): Promise<Established> {
    const secret = mintSecret(shardOfHandle(record.handle));
    const key = credentialKey(secret.reveal()) as CredentialKey;
    const seen = record.credentials.current;
    const next = await this.write(record, "rotate", {}, (current, now) =>
      current.credentials.current === seen
        ? { ...activity(current, now), credentials: plan(current.credentials, key, now) }
        : undefined,
    );
    return next.credentials.current === key ? { record: next, secret } : { record: next };
  }

  /** Ends one record if `still` holds for it, and leaves its children alone. `undefined`: there was nothing to end. */
  async endOne(
    start: SessionRecord,
    options: EndOptions,
    still: (record: SessionRecord) => boolean = () => true,
  ): Promise<Ended | undefined> {
    let record = start;
    for (let attempt = 0; attempt < this.#core.policy.replays; attempt++) {
      if (record.state === "ended" || !still(record)) return undefined;
      const now = this.#core.clock.now();
      const purgeAt = now + retentionMs(this.#core.policy, record.mechanism);
      const next = endedRecord(record, options, now, purgeAt);
      // A suspended session has an owner, but no connection that could be closed.
      const carriedBy = record.state === "suspended" ? undefined : record.owner?.node;
      const outcome = await this.#core.store.update(record, next, [this.#endEntry(next, options, carriedBy)]);
      if (outcome === "updated")
        return carriedBy === undefined ? { record: next } : { record: next, carriedBy };
      const found =
        outcome === "conflict" ? await this.#core.store.get(record.handle, { fresh: true }) : undefined;
      if (found === undefined) return undefined;
      record = found.record;
    }
    throw new HoldfastError(
      "session-conflict",
      "The session changed faster than it could be ended; try again.",
      {
        detail: { handle: start.handle },
      },
    );
  }

  #endEntry(record: SessionRecord, options: EndOptions, carriedBy: string | undefined): JournalDraft {
    const { reason, revocation, by } = options;
    const detail: { [name: string]: Json } = { reason };
    if (revocation !== undefined) detail["revocation"] = revocation;
    if (carriedBy !== undefined) detail["carriedBy"] = carriedBy;
    if (options.detail !== undefined) Object.assign(detail, options.detail);
    const more: Draft<EntryDetails> = { at: record.ended?.at ?? this.#core.clock.now(), detail };
    if (by !== undefined) more.by = by;
    return this.#core.entry(record, "end", more);
  }

  /** The live sessions opened under `parent`, as long as there are any. */
  async *childrenOf(parent: Handle): AsyncIterable<readonly SessionRecord[]> {
    let after: Handle | undefined;
    do {
      const page = await this.#core.store.list({
        term: `c:${parent}`,
        limit: 100,
        ...(after !== undefined && { after }),
      });
      yield page.found.map((child) => child.record);
      after = page.next;
    } while (after !== undefined);
  }
}

/** A session that was ended just now. */
export interface Ended {
  readonly record: SessionRecord;
  /** The node that had a connection of it to close. */
  readonly carriedBy?: string;
}

/** Members to change; `undefined` takes one away. */
export type Patch = { readonly [Name in keyof SessionRecord]?: SessionRecord[Name] | undefined };

/**
 * Names are assigned to a copy one by one: `{...record, ended}` would give each record that gains a member a dictionary
 * of its own, three times the size and ten times the work, and a store in memory keeps the ended ones for a day.
 */
function patched(record: SessionRecord, patch: Patch, state: State = record.state): SessionRecord {
  const next: Record<string, unknown> = {};
  Object.assign(next, record);
  for (const name in patch) {
    const value: unknown = patch[name as keyof Patch];
    if (value !== undefined) next[name] = value;
    else if (name in next) delete next[name];
  }
  next["state"] = state;
  next["version"] = record.version + 1;
  return next as unknown as SessionRecord;
}

function endedRecord(record: SessionRecord, options: EndOptions, at: number, purgeAt: number): SessionRecord {
  const { reason, by, revocation, checkpoint } = options;
  const ended: Draft<EndNote> = { at, reason, purgeAt };
  if (by !== undefined) ended.by = by;
  if (revocation !== undefined) ended.revocation = revocation;
  const patch: Draft<Patch> = { ended };
  if (record.suspendUntil !== undefined) patch.suspendUntil = undefined;
  if (checkpoint !== undefined && checkpoint.position >= (record.checkpoint?.position ?? 0))
    patch.checkpoint = { at, ...checkpoint };
  return patched(record, patch, move(record.state, "end"));
}

/** Never so short that the receipts of a revocation come after their session's timeline is gone. */
function retentionMs({ mechanisms, retainEndedMs, receiptMs }: KernelPolicy, mechanism: string): number {
  return Math.max(mechanisms[mechanism]?.retainEndedMs ?? retainEndedMs, receiptMs);
}

/** Every change by the session's own peer counts as use. */
export function activity(record: SessionRecord, now: number): Patch {
  return { touchedAt: now, ...(record.idleMs !== undefined && { idleAt: now + record.idleMs }) };
}

function endedError(record: SessionRecord): HoldfastError {
  return new HoldfastError("session-ended", "The session has ended; establish a new one.", {
    detail: { handle: record.handle },
  });
}

function fencedError(record: SessionRecord): HoldfastError {
  return new HoldfastError(
    "session-fenced",
    "Another node has taken this session over; stop writing to it.",
    {
      detail: { handle: record.handle },
    },
  );
}
