import type { Barrier } from "./barrier.ts";
import { Carriage } from "./carriage.ts";
import { advanced } from "./checkpoint.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { Core } from "./core.ts";
import { confirmed, offered, rotated, superseded } from "./credentials.ts";
import type { EndHooks } from "./endings.ts";
import { Endings } from "./endings.ts";
import { HoldfastError } from "./errors.ts";
import type { EstablishRequest } from "./establish.ts";
import { Establisher } from "./establish.ts";
import { Feed } from "./feed.ts";
import { Gate } from "./gate.ts";
import type { JournalEntry } from "./journal.ts";
import { judgeStanding } from "./judge.ts";
import type { EndReason } from "./lifecycle.ts";
import { matching } from "./listing.ts";
import type { LiveTransport } from "./live.ts";
import { NodeLeases } from "./nodes.ts";
import type { KernelPolicy } from "./policy.ts";
import { defaultPolicy } from "./policy.ts";
import type { Authentication, Checkpoint, Json, SessionRecord } from "./record.ts";
import type {
  Amendment,
  ConfirmOptions,
  EndOptions,
  Established,
  KernelOptions,
  Presentation,
  WriteOptions,
} from "./requests.ts";
import type { Revocation } from "./receipts.ts";
import type { LockRequest, Preview, RevokeOptions } from "./revoke.ts";
import { Revoker } from "./revoke.ts";
import { Rounds } from "./rounds.ts";
import type { Handle } from "./secret.ts";
import { mintHandle } from "./secret.ts";
import type { Selector } from "./selector.ts";
import { assertSelective } from "./selector.ts";
import type { MaybePromise, SessionStore } from "./store.ts";
import { sweepOnce } from "./sweep.ts";
import { activity, Writes } from "./writes.ts";

export function createKernel(options: KernelOptions): Kernel {
  return new Kernel(options);
}

/** What a session is. Mechanisms establish, look up, change and end sessions here and nowhere else. */
export class Kernel {
  readonly store: SessionStore;
  readonly clock: Clock;
  /** This process's name in records, receipts and the list of nodes. */
  readonly node: string;
  readonly policy: KernelPolicy;
  readonly #core: Core;
  readonly #feed: Feed;
  readonly #writes: Writes;
  readonly #gate: Gate;
  readonly #carriage: Carriage;
  readonly #leases: NodeLeases;
  readonly #revoker: Revoker;
  readonly #endings: Endings;
  readonly #establisher: Establisher;
  readonly #rounds: Rounds;
  readonly #listeners = new Set<(entry: JournalEntry) => void>();
  #started: Promise<void> | undefined;
  #closed = false;

  constructor(options: KernelOptions) {
    this.store = options.store;
    this.clock = options.clock ?? systemClock;
    this.node = options.node ?? `node-${mintHandle(0).slice(2, 10)}`;
    this.policy = { ...defaultPolicy, ...options.policy };
    const core = new Core(this, options.onFault ?? (() => {}));
    const end = this.endForNow;
    const carriage = new Carriage(core, () => this.#feed, end);
    this.#feed = new Feed(this.store, this.clock, {
      entry: (entry) => {
        carriage.heard(entry);
        for (const listener of this.#listeners) listener(entry);
      },
      doubt: () => carriage.recheck(),
      liveness: (live) => {
        if (!live) carriage.feedLost();
      },
      fault: (error) => core.fault(error),
    });
    this.#core = core;
    this.#rounds = new Rounds(core);
    this.#carriage = carriage;
    this.#writes = new Writes(core, this.#feed);
    this.#endings = new Endings(core, this.#writes, carriage);
    const lookUp = (handle: Handle): ReturnType<Kernel["lookUp"]> => this.lookUp(handle);
    this.#establisher = new Establisher({ core, feed: this.#feed, carriage, endings: this.#endings, lookUp });
    this.#gate = new Gate({
      core,
      feed: this.#feed,
      start: () => this.start(),
      end,
    });
    this.#revoker = new Revoker(this);
    this.#leases = new NodeLeases(this, options.about ?? {}, {
      dispossessed: () => carriage.dispossessed(),
      died: () => this.#revoker.reapply(),
    });
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
    this.#rounds.stop();
    await this.#started?.catch(() => {});
    await this.#core.settled();
    if (this.#started !== undefined)
      await this.#leases.release().catch((error: unknown) => this.#core.fault(error));
    await this.#feed.close();
  }

  /** True while this node hears of every change; when false, reads go past caches to the store. */
  get feedLive(): boolean {
    return this.#feed.live;
  }

  /** Sessions with a live transport in this process. */
  get liveCount(): number {
    return this.#carriage.size;
  }

  /** How often this node refused a session or a secret since it was made, by reason. */
  get refusals(): Readonly<Record<string, number>> {
    return this.#core.refusals;
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
  async establish(request: EstablishRequest): Promise<Established> {
    await this.start();
    return this.#establisher.establish(request);
  }

  /**
   * The live record that a presented secret opens, or `undefined`: unknown, malformed, expired, ended, revoked and
   * locked all look the same. Answers without a promise where the store or its cache does.
   */
  verify(presented: string): MaybePromise<SessionRecord | undefined> {
    return this.#gate.verify(presented);
  }

  /** As `verify`, and says which slot the secret was in, or why it was refused. */
  present(presented: string): Promise<Presentation> {
    return this.#gate.present(presented);
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

  /** Every live session that `selector` means, in the order of handles. */
  async *sessions(selector: Selector): AsyncIterable<SessionRecord> {
    assertSelective(selector);
    const barriers = await this.barriers();
    for await (const found of matching(this.store, selector)) {
      if (judgeStanding(found, this.clock.now(), barriers) === undefined) yield found.record;
    }
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
    return this.#writes.write(record, "update", options, (current, now) => {
      const draft = structuredClone(current.data) as T;
      const data = change(draft) ?? draft;
      this.#core.assertDataFits(data);
      return { data, ...activity(current, now) };
    });
  }

  amend(record: SessionRecord, amendment: Amendment, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.#writes.write(record, "update", options, (current, now) =>
      Object.assign(activity(current, now), amendment),
    );
  }

  /** Moves the idle deadline, at most once per window; the common case returns at once and writes nothing. */
  touch(record: SessionRecord): void {
    this.#writes.touch(record);
  }

  /** A new secret by plain rotation; the old one stays good for `graceMs`. */
  rotate(
    record: SessionRecord,
    options: WriteOptions & { graceMs?: number } = {},
  ): Promise<Required<Established>> {
    const limits = { graceMs: options.graceMs ?? this.policy.graceMs, kept: this.policy.retiredKept };
    return this.#writes.renew(record, "rotate", options, (credentials, key, now) => ({
      credentials: rotated(credentials, key, now, limits),
    }));
  }

  /** As `rotate`, for one of several who notice at once that it is time: the others get the record without a secret. */
  rotateOnce(record: SessionRecord): Promise<Established> {
    const limits = { graceMs: this.policy.graceMs, kept: this.policy.retiredKept };
    return this.#writes.renewOnce(record, (credentials, key, now) => rotated(credentials, key, now, limits));
  }

  /** A change of privilege: the secret changes with it, and the old one is refused at once. */
  authenticate(
    record: SessionRecord,
    authentication: Omit<Authentication, "at">,
    options: WriteOptions & { roles?: readonly string[] } = {},
  ): Promise<Required<Established>> {
    const limits = { quietMs: this.policy.quietMs, kept: this.policy.retiredKept };
    return this.#writes.renew(record, "authenticate", options, (credentials, key, now) => ({
      credentials: superseded(credentials, key, now, limits),
      authentication: { at: now, ...authentication },
      ...(options.roles !== undefined && { roles: options.roles }),
    }));
  }

  /** A secret that becomes current with its first use; until then the current one stays good. See `confirm`. */
  offer(record: SessionRecord, options: WriteOptions = {}): Promise<Required<Established>> {
    return this.#writes.renew(record, "rotate", options, (credentials, key, now) => ({
      credentials: offered(credentials, key, now, { kept: this.policy.retiredKept }),
    }));
  }

  /** An offered secret was seen, the newest unless `key` says which: it is current now, and the one before is spent. */
  confirm(record: SessionRecord, options: ConfirmOptions = {}): Promise<SessionRecord> {
    const limits = { kept: this.policy.retiredKept, quietMs: this.policy.quietMs };
    return this.#writes.write(record, "rotate", options, (current, now) => {
      const credentials = confirmed(current.credentials, options.key, now, limits);
      return credentials && { credentials };
    });
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
    return this.#writes.write(record, "checkpoint", options, (current, now) => {
      const checkpoint = advanced(current, point, now);
      return checkpoint === undefined ? undefined : { checkpoint, ...activity(current, now) };
    });
  }

  // ── transports, suspend, resume ─────────────────────────────────────────────────────────────────────────────

  /**
   * Says that a connection in this process carries the session, and how to close it. If the session has ended
   * meanwhile, the transport is closed at once. Returns how to take it off when the connection ends by itself.
   */
  attach(record: SessionRecord, transport: LiveTransport): Promise<() => void> {
    return this.#carriage.attach(record, transport);
  }

  /** Takes off a transport that came with `establish`, when its connection ended by itself. */
  detach(record: SessionRecord, transport: LiveTransport): void {
    this.#carriage.detach(record.handle, transport);
  }

  /** No transport is attached any more; the session can be resumed for its `resumableMs`. */
  suspend(record: SessionRecord, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.#writes.write(record, "suspend", options, (current, now) => ({
      suspendUntil: now + (current.resumableMs ?? 0),
      ...activity(current, now),
    }));
  }

  /** Takes ownership for this node, raising the fencing epoch, whether the session is suspended or half-open elsewhere. */
  async resume(record: SessionRecord, options: WriteOptions = {}): Promise<SessionRecord> {
    return this.#writes.write(record, "resume", options, (current, now) => ({
      suspendUntil: undefined,
      owner: { node: this.node, epoch: (current.owner?.epoch ?? 0) + 1 },
      ...activity(current, now),
    }));
  }

  // ── terminate, refuse afterwards ────────────────────────────────────────────────────────────────────────────

  /**
   * Ends a session and everything opened under it, and closes what this node carries of them. Resolves when no node
   * takes its secret any more, near caches included, with the ended record, or `undefined` when there was nothing left
   * to end.
   */
  end(
    target: SessionRecord | Handle,
    options: EndOptions,
    hooks?: EndHooks,
  ): Promise<SessionRecord | undefined> {
    return this.#endings.endEverywhere(target, options, hooks);
  }

  /** Ends a session for a limit of its own, unless it was used or ended meanwhile. */
  expire(record: SessionRecord, reason: EndReason): Promise<SessionRecord | undefined> {
    return this.#endings.expire(record, reason);
  }

  /** How many sessions a revocation of `selector` would end now, by mechanism, with the first few. */
  preview(selector: Selector): Promise<Preview> {
    return this.#revoker.preview(selector);
  }

  /**
   * Ends every session `selector` means: those committed before the call, and those being made while it runs. Resolves
   * when no node takes any of them any more, near caches included; the receipts go on filling in as transports close.
   */
  revoke(selector: Selector, options: RevokeOptions): Promise<Revocation> {
    return this.#revoker.revoke(selector, options);
  }

  /** Hears of every revocation and lock that this node carries out, before it ends its first session. */
  onRevocation(listener: (revocation: Revocation) => void): () => void {
    return this.#revoker.watch(listener);
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

  /** A line in a session's timeline that goes with no change of it: a limit hit, a peer's mistake, a probe refused. */
  note(record: SessionRecord, detail: { readonly [key: string]: Json }): Promise<void> {
    return this.store.append([{ ...this.#core.entry(record, "update", { detail }), event: "note" }]);
  }

  barriers(): Promise<readonly Barrier[]> {
    return this.#feed.barriers();
  }

  reloadBarriers(): Promise<void> {
    return this.#feed.reload();
  }

  /** As `end`, but other nodes' near caches may still answer with the session for a moment. */
  readonly endForNow: Endings["end"] = (...how) => this.#endings.end(...how);

  /** One pass over what is due; returns how many sessions it ended or forgot. */
  sweep(): Promise<number> {
    return sweepOnce(this);
  }

  fault(error: unknown): void {
    this.#core.fault(error);
  }

  inBackground(work: Promise<unknown>): void {
    this.#core.inBackground(work);
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    await this.#leases.take();
    await this.#feed.start();
    const { sweepMs, leaseMs } = this.policy;
    this.#rounds.every(sweepMs, () => sweepOnce(this));
    this.#rounds.every(Math.min(sweepMs, leaseMs / 5), () => this.#leases.renew());
    this.#rounds.every(sweepMs, () => this.#leases.inheritLapsed());
  }
}
