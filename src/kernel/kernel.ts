import type { Barrier } from "./barrier.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { confirmed, offered, rotated, superseded } from "./credentials.ts";
import { HoldfastError } from "./errors.ts";
import type { EstablishRequest } from "./establish.ts";
import { establish } from "./establish.ts";
import { Feed } from "./feed.ts";
import type { JournalDraft, JournalEntry } from "./journal.ts";
import type { Refusal, Verdict } from "./judge.ts";
import { expiryOf, judge, judgeStanding } from "./judge.ts";
import type { EndReason, SessionEvent } from "./lifecycle.ts";
import { move, phaseOf } from "./lifecycle.ts";
import type { LiveTransport } from "./live.ts";
import { LiveTransports } from "./live.ts";
import { NodeLeases } from "./nodes.ts";
import type { KernelPolicy } from "./policy.ts";
import { defaultPolicy } from "./policy.ts";
import type { Authentication, Checkpoint, EndNote, Json, SessionRecord } from "./record.ts";
import type { LockRequest, Preview, Revocation, RevokeOptions } from "./revoke.ts";
import { Revoker } from "./revoke.ts";
import type { CredentialKey, Handle } from "./secret.ts";
import { credentialKey, mintSecret, Secret, shardOfHandle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import type { Found, MaybePromise, SessionStore } from "./store.ts";
import { sweepOnce } from "./sweep.ts";

export interface KernelOptions {
  readonly store: SessionStore;
  readonly clock?: Clock;
  /** This process's name in records and receipts; must be unique among live processes. Made up when left out. */
  readonly node?: string;
  /** What this node says of itself in the list of nodes. */
  readonly about?: { readonly [key: string]: string | number };
  readonly policy?: Partial<KernelPolicy>;
  /** Hears of faults in the background (feed, lease, sweep). They are retried; nothing is lost by not listening. */
  readonly onFault?: (error: unknown) => void;
}

export interface Established {
  readonly record: SessionRecord;
  /** Absent when the request asked for no credential. */
  readonly secret?: Secret;
}

/** What somebody who shows a secret gets. */
export type Presentation =
  | { readonly good: true; readonly record: SessionRecord; readonly slot: "current" | "pending" | "previous" }
  | { readonly good: false; readonly why: Refusal; readonly record?: SessionRecord };

export interface EndOptions {
  readonly reason: EndReason;
  readonly by?: string;
  readonly revocation?: string;
  readonly detail?: { readonly [key: string]: Json };
}

export interface WriteOptions {
  /** The ownership the caller believes to have: a write is refused `session-fenced` once another took it. */
  readonly fence?: SessionRecord["owner"];
  readonly by?: string;
  readonly detail?: { readonly [key: string]: Json };
}

/** What a mechanism may change of a session besides its data. `undefined` takes a member away. */
export type Amendment = {
  readonly [Name in "label" | "peer" | "roles" | "tenant" | "resumableMs"]?: SessionRecord[Name] | undefined;
};

export function createKernel(options: KernelOptions): Kernel {
  return new Kernel(options);
}

/**
 * What a session is. Mechanisms establish, look up, change and end sessions here and nowhere else; every write is
 * conditional on the version it was computed from and is replayed when another came first.
 */
export class Kernel {
  readonly store: SessionStore;
  readonly clock: Clock;
  readonly node: string;
  readonly policy: KernelPolicy;
  readonly #feed: Feed;
  readonly #live = new LiveTransports();
  readonly #leases: NodeLeases;
  readonly #revoker: Revoker;
  readonly #listeners = new Set<(entry: JournalEntry) => void>();
  readonly #onFault: (error: unknown) => void;
  readonly #lateUses = new Map<Handle, number>();
  readonly #touching = new Set<Handle>();
  readonly #background = new Set<Promise<unknown>>();
  #started: Promise<void> | undefined;
  #closed = false;
  #cancelSweep: () => void = () => {};

  constructor(options: KernelOptions) {
    this.store = options.store;
    this.clock = options.clock ?? systemClock;
    this.node = options.node ?? `node-${mintSecret(0).reveal().slice(1, 9)}`;
    this.policy = { ...defaultPolicy, ...options.policy };
    this.#onFault = options.onFault ?? (() => {});
    this.#feed = new Feed(this.store, this.clock, {
      entry: (entry) => this.#heard(entry),
      doubt: () => this.#recheckLive(),
      liveness: (live) => {
        if (!live) this.#watchLostFeed();
      },
      fault: (error) => this.#onFault(error),
    });
    this.#leases = new NodeLeases(this, options.about ?? {});
    this.#revoker = new Revoker(this);
  }

  // ── life of the kernel ──────────────────────────────────────────────────────────────────────────────────────

  /**
   * Takes this node's name, follows the journal and begins to sweep. Calling it again returns the same promise.
   * @throws HoldfastError `store-unavailable`; it may be called again then.
   */
  start(): Promise<void> {
    if (this.#closed)
      return Promise.reject(new HoldfastError("kernel-closed", "This kernel was closed; make a new one."));
    this.#started ??= this.#begin().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    return this.#started;
  }

  /** Stops following and sweeping, gives the lease back and waits for writes under way. The store stays open. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelSweep();
    await this.#started?.catch(() => {});
    await Promise.allSettled([...this.#background]);
    if (this.#started !== undefined) await this.#leases.release().catch(this.#onFault);
    await this.#feed.close();
  }

  /** True while this node hears of every change; when false, reads go past caches to the store. */
  get feedLive(): boolean {
    return this.#feed.live;
  }

  /** Sessions with a live transport in this process. */
  get liveCount(): number {
    return this.#live.size;
  }

  /** Hears every journal entry as it becomes visible to this node. Returns how to stop. */
  onEntry(listener: (entry: JournalEntry) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // ── establish, identify ─────────────────────────────────────────────────────────────────────────────────────

  /**
   * Makes a session, always with a fresh handle and a fresh secret.
   * @throws HoldfastError `locked`, `limit-reached`, `establish-refused` (revoked meanwhile, or the parent has ended),
   * `invalid-argument`, `store-unavailable`.
   */
  establish(request: EstablishRequest): Promise<Established> {
    return establish(this, request);
  }

  /**
   * The live record that a presented secret opens, or `undefined`: unknown, malformed, expired, ended, revoked and
   * locked all look the same. Answers without a promise where the store or its cache does.
   */
  verify(presented: string): MaybePromise<SessionRecord | undefined> {
    const key = credentialKey(presented);
    if (key === undefined) return undefined;
    if (!this.#feed.live) return this.#verifySlowly(key);
    const found = this.store.find(key);
    if (found instanceof Promise)
      return found.then((late) => this.#quick(late, key) ?? this.#settle(late, key));
    return this.#quick(found, key) ?? this.#settle(found, key);
  }

  /** As `verify`, and says which slot the secret was in, or why it was refused. */
  async present(presented: string): Promise<Presentation> {
    const key = credentialKey(presented);
    if (key === undefined) return { good: false, why: "unknown" };
    await this.start();
    return this.#present(key, await this.store.find(key, { fresh: !this.#feed.live }));
  }

  /** The live session of that handle; for lists, the console and mechanisms, never for what a peer presents. */
  async lookUp(handle: Handle, options: { ended?: boolean } = {}): Promise<SessionRecord | undefined> {
    const found = await this.store.get(handle, { fresh: true });
    if (found === undefined) return undefined;
    if (options.ended === true) return found.record;
    return judgeStanding(found, this.clock.now(), await this.barriers()) === undefined
      ? found.record
      : undefined;
  }

  // ── maintain ────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Changes the application's data. `change` gets a copy to change in place or returns a new value; it may run again on
   * newer data when another write came first, so it must have no effects of its own.
   */
  update<T extends Json>(
    record: SessionRecord,
    change: (data: T) => T | void,
    options: WriteOptions = {},
  ): Promise<SessionRecord> {
    return this.write(record, "update", options, (current, now) => {
      const draft = structuredClone(current.data) as T;
      const data = change(draft) ?? draft;
      this.assertDataFits(data);
      return { data, ...activity(current, now) };
    });
  }

  amend(record: SessionRecord, amendment: Amendment, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.write(record, "update", options, (current, now) => ({
      ...amendment,
      ...activity(current, now),
    }));
  }

  /** Moves the idle deadline, at most once per window; the common case returns at once and writes nothing. */
  touch(record: SessionRecord): void {
    const now = this.clock.now();
    if (now - record.touchedAt < this.touchWindowMs(record) || this.#touching.has(record.handle)) return;
    this.#touching.add(record.handle);
    const next = patched(record, activity(record, now));
    // A conflict means that somebody wrote just now, which moved the deadline as well.
    this.inBackground(
      this.store.update(record, next, []).finally(() => this.#touching.delete(record.handle)),
    );
  }

  touchWindowMs(record: SessionRecord): number {
    const idleMs = record.idleMs ?? Infinity;
    return Math.min(Math.max(this.policy.touchMs, idleMs === Infinity ? 0 : idleMs / 20), idleMs / 4);
  }

  /** A new secret by plain rotation; the old one stays good for `graceMs`. */
  rotate(
    record: SessionRecord,
    options: WriteOptions & { graceMs?: number } = {},
  ): Promise<Required<Established>> {
    const limits = { graceMs: options.graceMs ?? this.policy.graceMs, kept: this.policy.retiredKept };
    return this.#renew(record, "rotate", options, (credentials, key, now) => ({
      credentials: rotated(credentials, key, now, limits),
    }));
  }

  /** A change of privilege: the secret changes with it, and the old one is refused at once. */
  authenticate(
    record: SessionRecord,
    authentication: Omit<Authentication, "at">,
    options: WriteOptions & { roles?: readonly string[] } = {},
  ): Promise<Required<Established>> {
    const limits = { quietMs: this.policy.quietMs, kept: this.policy.retiredKept };
    return this.#renew(record, "authenticate", options, (credentials, key, now) => ({
      credentials: superseded(credentials, key, now, limits),
      authentication: { at: now, ...authentication },
      ...(options.roles !== undefined && { roles: options.roles }),
    }));
  }

  /** A secret that becomes current with its first use; until then the current one stays good. See `confirm`. */
  offer(record: SessionRecord, options: WriteOptions = {}): Promise<Required<Established>> {
    return this.#renew(record, "rotate", options, (credentials, key, now) => ({
      credentials: offered(credentials, key, now, { kept: this.policy.retiredKept }),
    }));
  }

  /** The offered secret was seen: it is current now, and the one before is spent. */
  confirm(record: SessionRecord, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.write(record, "rotate", options, (current, now) =>
      current.credentials.pending === undefined
        ? undefined
        : { credentials: confirmed(current.credentials, now, { kept: this.policy.retiredKept }) },
    );
  }

  /**
   * Moves the checkpoint forward. The same position again writes nothing.
   * @throws HoldfastError `checkpoint-backwards`.
   */
  checkpoint(
    record: SessionRecord,
    point: Omit<Checkpoint, "at">,
    options: WriteOptions = {},
  ): Promise<SessionRecord> {
    return this.write(record, "checkpoint", options, (current, now) => {
      const reached = current.checkpoint?.position ?? 0;
      if (point.position < reached) {
        throw new HoldfastError(
          "checkpoint-backwards",
          `The checkpoint stands at ${reached} and cannot go back to ${point.position}.`,
          {
            detail: { handle: current.handle, position: point.position },
          },
        );
      }
      if (point.position === current.checkpoint?.position && point.note === undefined) return undefined;
      return { checkpoint: { ...point, at: now }, ...activity(current, now) };
    });
  }

  // ── transports, suspend, resume ─────────────────────────────────────────────────────────────────────────────

  /**
   * Says that a connection in this process carries the session, and how to close it. If the session has ended
   * meanwhile, the transport is closed at once. Returns how to take it off when the connection ends by itself.
   */
  async attach(record: SessionRecord, transport: LiveTransport): Promise<() => void> {
    const detach = this.#live.attach(record.handle, transport);
    const found = await this.store.get(record.handle, { fresh: true });
    const refusal =
      found === undefined ? "unknown" : judgeStanding(found, this.clock.now(), await this.barriers());
    if (refusal !== undefined) await this.#closeLive(record.handle, found?.record);
    return detach;
  }

  /** No transport is attached any more; the session can be resumed for its `resumableMs`. */
  suspend(record: SessionRecord, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.write(record, "suspend", options, (current, now) => ({
      suspendUntil: now + (current.resumableMs ?? 0),
      ...activity(current, now),
    }));
  }

  /** Takes ownership for this node, raising the fencing epoch, whether the session is suspended or half-open elsewhere. */
  async resume(record: SessionRecord, options: Omit<WriteOptions, "fence"> = {}): Promise<SessionRecord> {
    return this.write(record, "resume", options, (current, now) => ({
      suspendUntil: undefined,
      owner: { node: this.node, epoch: (current.owner?.epoch ?? 0) + 1 },
      ...activity(current, now),
    }));
  }

  // ── terminate, refuse afterwards ────────────────────────────────────────────────────────────────────────────

  /**
   * Ends a session and everything opened under it, and closes what this node carries of them. Resolves with the ended
   * record, or `undefined` when there was nothing left to end.
   */
  async end(target: SessionRecord | Handle, options: EndOptions): Promise<SessionRecord | undefined> {
    const start =
      typeof target === "string" ? (await this.store.get(target, { fresh: true }))?.record : target;
    if (start === undefined) return undefined;
    const ended = await this.#endOne(start, options);
    const children = this.#endChildren(start.handle, options);
    await Promise.all([children, ended === undefined ? undefined : this.#closeLive(ended.handle, ended)]);
    return ended;
  }

  /** Ends a session for a limit of its own, unless it was used or ended meanwhile. */
  async expire(record: SessionRecord, reason: EndReason): Promise<SessionRecord | undefined> {
    const ended = await this.#endOne(
      record,
      { reason, by: "holdfast" },
      (current) => expiryOf(current, this.clock.now()) === reason,
    );
    if (ended === undefined) return undefined;
    await Promise.all([
      this.#endChildren(record.handle, { reason, by: "holdfast" }),
      this.#closeLive(record.handle, ended),
    ]);
    return ended;
  }

  /** How many sessions `selector` means now, by mechanism, with the first few. */
  preview(selector: Selector): Promise<Preview> {
    return this.#revoker.preview(selector);
  }

  /**
   * Ends every session `selector` means: those committed before the call, and those being made while it runs. Resolves
   * when all of them are refused everywhere; the receipts go on filling in as their transports close.
   */
  revoke(selector: Selector, options: RevokeOptions): Promise<Revocation> {
    return this.#revoker.revoke(selector, options);
  }

  /** Refuses new sessions that match and ends the live ones, until lifted or past `until`. */
  lock(request: LockRequest): Promise<{ barrier: Barrier; revocation: Revocation }> {
    return this.#revoker.lock(request);
  }

  /** False when there is no such lock. */
  unlock(id: string, by?: string): Promise<boolean> {
    return this.#revoker.unlock(id, by);
  }

  async locks(): Promise<readonly Barrier[]> {
    return (await this.store.barriers(this.clock.now())).filter((barrier) => barrier.kind === "lock");
  }

  // ── for the kernel's own parts ──────────────────────────────────────────────────────────────────────────────

  barriers(): Promise<readonly Barrier[]> {
    return this.#feed.barriers();
  }

  reloadBarriers(): Promise<void> {
    return this.#feed.reload();
  }

  fault(error: unknown): void {
    this.#onFault(error);
  }

  /** One pass over what is due; returns how many sessions it ended or forgot. */
  sweep(): Promise<number> {
    return sweepOnce(this);
  }

  /** Runs beside the caller; `close()` waits for it, and what goes wrong goes to `onFault`. */
  inBackground(work: Promise<unknown>): void {
    const watched: Promise<unknown> = work
      .catch(this.#onFault)
      .finally(() => this.#background.delete(watched));
    this.#background.add(watched);
  }

  entry(
    record: SessionRecord,
    event: SessionEvent,
    more: { at?: number; by?: string; detail?: JournalDraft["detail"] } = {},
  ): JournalDraft {
    return {
      handle: record.handle,
      version: record.version,
      at: more.at ?? this.clock.now(),
      phase: phaseOf(event),
      event,
      mechanism: record.mechanism,
      ...(record.principal !== undefined && { principal: record.principal }),
      node: this.node,
      ...(more.by !== undefined && { by: more.by }),
      ...(more.detail !== undefined && { detail: more.detail }),
    };
  }

  assertDataFits(data: Json): void {
    const bytes = Buffer.byteLength(JSON.stringify(data) ?? "");
    if (bytes > this.policy.dataBytes) {
      throw new HoldfastError(
        "limit-reached",
        `A session holds at most ${this.policy.dataBytes} bytes of data; keep large things elsewhere and their name here.`,
        {
          detail: { bytes },
        },
      );
    }
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
    for (let attempt = 0; attempt < this.policy.replays; attempt++) {
      const now = this.clock.now();
      if (record.state === "ended" || expiryOf(record, now) !== undefined) throw endedError(record);
      if (options.fence !== undefined && options.fence.epoch !== record.owner?.epoch)
        throw fencedError(record);
      const state = move(record.state, event);
      const patch = plan(record, now);
      if (patch === undefined) return record;
      const next = patched(record, { ...patch, state });
      const outcome = await this.store.update(record, next, [
        this.entry(next, event, { ...options, at: now }),
      ]);
      if (outcome === "updated") return next;
      const found = outcome === "conflict" ? await this.store.get(record.handle, { fresh: true }) : undefined;
      if (found === undefined || judgeStanding(found, now, await this.barriers()) !== undefined)
        throw endedError(record);
      record = found.record;
    }
    throw new HoldfastError(
      "session-conflict",
      `Other writes came first ${this.policy.replays} times in a row; try again.`,
      {
        detail: { handle: start.handle },
      },
    );
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    await this.#leases.take();
    await this.#feed.start();
    this.#scheduleSweep();
  }

  #scheduleSweep(): void {
    this.#cancelSweep = this.clock.after(this.policy.sweepMs, () => {
      if (this.#closed) return;
      const pass = Promise.all([sweepOnce(this), this.#leases.sweep()]).finally(() => {
        if (!this.#closed) this.#scheduleSweep();
      });
      this.inBackground(pass);
    });
  }

  /** The whole check for the usual case; `undefined` sends the caller the long way round. */
  #quick(found: Found | undefined, key: CredentialKey): SessionRecord | undefined {
    if (found === undefined) return undefined;
    const { record } = found;
    if (record.credentials.current !== key || record.state === "ended" || record.epoch < found.epoch)
      return undefined;
    const now = this.clock.now();
    if (now >= (record.idleAt ?? Infinity) || now >= (record.absoluteAt ?? Infinity)) return undefined;
    return this.#feed.clear && record.state !== "suspended" ? record : undefined;
  }

  #settle(found: Found | undefined, key: CredentialKey): MaybePromise<SessionRecord | undefined> {
    if (found === undefined) return undefined;
    return this.#present(key, found).then((presentation) =>
      presentation.good ? presentation.record : undefined,
    );
  }

  async #verifySlowly(key: CredentialKey): Promise<SessionRecord | undefined> {
    await this.start();
    const found = await this.store.find(key, { fresh: !this.#feed.live });
    return this.#quick(found, key) ?? this.#settle(found, key);
  }

  async #present(key: CredentialKey, cached: Found | undefined): Promise<Presentation> {
    if (cached === undefined) return { good: false, why: "unknown" };
    const now = this.clock.now();
    const barriers = await this.barriers();
    let found = cached;
    let verdict: Verdict = judge(found, key, now, barriers);
    if (!verdict.good) {
      const fresh = await this.store.find(key, { fresh: true });
      if (fresh === undefined) return { good: false, why: "unknown" };
      found = fresh;
      verdict = judge(found, key, now, barriers);
    }
    if (verdict.good) return { good: true, record: found.record, slot: verdict.slot };
    await this.#refused(found.record, verdict.why);
    return { good: false, why: verdict.why, record: found.record };
  }

  async #refused(record: SessionRecord, why: Refusal): Promise<void> {
    if (why === "reused") {
      const root = await this.#familyRoot(record);
      await this.store.append([this.entry(record, "reuse", { detail: { root: root.handle } })]);
      await this.end(root, { reason: "revoked", by: "holdfast", detail: { cause: "reuse" } });
      return;
    }
    if (why !== "ended") return;
    // A peer that keeps knocking must not be able to fill the journal.
    const now = this.clock.now();
    if (now - (this.#lateUses.get(record.handle) ?? -Infinity) < LATE_USE_EVERY_MS) return;
    if (this.#lateUses.size >= LATE_USES_KEPT) this.#lateUses.clear();
    this.#lateUses.set(record.handle, now);
    await this.store.append([this.entry(record, "late-use", { at: now })]);
  }

  async #familyRoot(record: SessionRecord): Promise<SessionRecord> {
    let root = record;
    for (let depth = 0; root.parent !== undefined && depth < MAX_DEPTH; depth++) {
      const parent = await this.store.get(root.parent, { fresh: true });
      if (parent === undefined || parent.record.state === "ended") break;
      root = parent.record;
    }
    return root;
  }

  #renew(
    record: SessionRecord,
    event: SessionEvent,
    options: WriteOptions,
    plan: (credentials: SessionRecord["credentials"], key: CredentialKey, now: number) => Patch,
  ): Promise<Required<Established>> {
    const secret = mintSecret(shardOfHandle(record.handle));
    const key = credentialKey(secret.reveal()) as CredentialKey;
    return this.write(record, event, options, (current, now) => ({
      ...plan(current.credentials, key, now),
      ...activity(current, now),
    })).then((next) => ({ record: next, secret }));
  }

  async #endOne(
    start: SessionRecord,
    options: EndOptions,
    still: (record: SessionRecord) => boolean = () => true,
  ): Promise<SessionRecord | undefined> {
    let record = start;
    for (let attempt = 0; attempt < this.policy.replays; attempt++) {
      if (record.state === "ended" || !still(record)) return undefined;
      const now = this.clock.now();
      const ended: EndNote = {
        at: now,
        reason: options.reason,
        ...(options.by !== undefined && { by: options.by }),
        ...(options.revocation !== undefined && { revocation: options.revocation }),
        purgeAt: now + this.policy.retainEndedMs,
      };
      const next = patched(record, { state: move(record.state, "end"), ended, suspendUntil: undefined });
      const detail = {
        reason: options.reason,
        ...(options.revocation !== undefined && { revocation: options.revocation }),
        ...(record.owner !== undefined && record.state !== "suspended" && { carriedBy: record.owner.node }),
        ...options.detail,
      };
      const draft = this.entry(next, "end", {
        at: now,
        detail,
        ...(options.by !== undefined && { by: options.by }),
      });
      const outcome = await this.store.update(record, next, [draft]);
      if (outcome === "updated") return next;
      const found = outcome === "conflict" ? await this.store.get(record.handle, { fresh: true }) : undefined;
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

  async #endChildren(parent: Handle, options: EndOptions): Promise<void> {
    let after: Handle | undefined;
    do {
      const page = await this.store.list({
        term: `c:${parent}`,
        limit: 100,
        ...(after !== undefined && { after }),
      });
      await Promise.all(
        page.found.map((child) =>
          this.end(child.record, { ...options, detail: { ...options.detail, parent } }),
        ),
      );
      after = page.next;
    } while (after !== undefined);
  }

  #heard(entry: JournalEntry): void {
    const { handle } = entry;
    if (handle !== undefined && this.#live.has(handle)) {
      if (entry.event === "end") this.inBackground(this.#closeLive(handle, undefined));
      if (entry.event === "resume" && entry.node !== this.node) {
        this.inBackground(this.#live.close(handle, { kind: "taken-over" }));
      }
    }
    for (const listener of this.#listeners) listener(entry);
  }

  /** Closes what this process carries of an ended session, and writes the two lines its receipt waits for. */
  async #closeLive(handle: Handle, known: SessionRecord | undefined): Promise<void> {
    if (!this.#live.has(handle)) return;
    const record =
      known?.ended === undefined ? (await this.store.get(handle, { fresh: true }))?.record : known;
    if (!this.#live.has(handle)) return;
    const now = this.clock.now();
    const note: EndNote = record?.ended ?? { at: now, reason: "revoked", purgeAt: now };
    const closing = this.#live.close(handle, { kind: "ended", note });
    const detail = note.revocation === undefined ? {} : { revocation: note.revocation };
    if (record !== undefined)
      await this.store.append([this.entry(record, "transport-signalled", { detail })]);
    const failures = await closing;
    for (const failure of failures) this.fault(failure);
    if (record === undefined) return;
    const failed = failures.length === 0 ? {} : { failed: failures.map(String).join("; ") };
    await this.store.append([this.entry(record, "transport-closed", { detail: { ...detail, ...failed } })]);
  }

  /** After the feed was away: whatever ended meanwhile must not go on being served here. */
  async #recheckLive(): Promise<void> {
    const barriers = await this.store.barriers(this.clock.now());
    for (const handle of this.#live.handles()) {
      const found = await this.store.get(handle, { fresh: true });
      if (found === undefined || judgeStanding(found, this.clock.now(), barriers) !== undefined) {
        await this.#closeLive(handle, found?.record);
      } else if (found.record.owner !== undefined && found.record.owner.node !== this.node) {
        await this.#live.close(handle, { kind: "taken-over" });
      }
    }
  }

  /** Rule: a node that cannot hear of revocations stops serving within its lease. */
  #watchLostFeed(): void {
    this.clock.after(this.policy.leaseMs, () => {
      const lostAt = this.#feed.lostAt;
      if (this.#closed || lostAt === undefined || this.clock.now() - lostAt < this.policy.leaseMs) return;
      for (const handle of this.#live.handles())
        this.inBackground(this.#live.close(handle, { kind: "feed-lost" }));
    });
  }
}

/** Members to change; `undefined` takes one away. */
export type Patch = { readonly [Name in keyof SessionRecord]?: SessionRecord[Name] | undefined };

export function patched(record: SessionRecord, patch: Patch): SessionRecord {
  const next: Record<string, unknown> = { ...record, ...patch, version: record.version + 1 };
  for (const [name, value] of Object.entries(patch)) if (value === undefined) delete next[name];
  return next as unknown as SessionRecord;
}

/** Every change by the session's own peer counts as use. */
function activity(record: SessionRecord, now: number): Patch {
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

const LATE_USE_EVERY_MS = 60_000;
const LATE_USES_KEPT = 10_000;
const MAX_DEPTH = 16;
