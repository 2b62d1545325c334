import type { Core } from "./core.ts";
import type { Feed } from "./feed.ts";
import type { JournalEntry } from "./journal.ts";
import type { Refusal } from "./judge.ts";
import { judgeStanding } from "./judge.ts";
import type { CloseCause, LiveTransport } from "./live.ts";
import { LiveTransports } from "./live.ts";
import type { EndNote, SessionRecord } from "./record.ts";
import type { EndOptions } from "./requests.ts";
import { causeOf } from "./revoke.ts";
import type { Handle } from "./secret.ts";
import type { Found } from "./store.ts";

/** The connections of this process that carry sessions, and when they have to close. */
export class Carriage {
  readonly #core: Core;
  readonly #feed: () => Feed;
  readonly #end: (record: SessionRecord, options: EndOptions) => Promise<unknown>;
  readonly #live = new LiveTransports();
  readonly #closing = new Set<Handle>();
  readonly #reported = new Set<Handle>();

  constructor(
    core: Core,
    feed: () => Feed,
    end: (record: SessionRecord, options: EndOptions) => Promise<unknown>,
  ) {
    this.#core = core;
    this.#feed = feed;
    this.#end = end;
  }

  get size(): number {
    return this.#live.size;
  }

  async attach(record: SessionRecord, transport: LiveTransport): Promise<() => void> {
    const detach = this.#live.attach(record, transport);
    if (this.deaf) await this.refuse(record.handle);
    else await this.#recheckOne(record.handle);
    return detach;
  }

  /** Attaches the transport of a session that is about to be written. What ends it later is heard of, so nobody looks. */
  expect(record: SessionRecord, transport: LiveTransport): void {
    this.#live.attach(record, transport);
  }

  detach(handle: Handle, transport: LiveTransport): void {
    this.#live.detach(handle, transport);
  }

  carries(handle: Handle): boolean {
    return this.#live.has(handle);
  }

  /** While `deaf`. */
  async refuse(handle: Handle): Promise<void> {
    await this.#live.close(handle, FEED_LOST);
  }

  heard(entry: JournalEntry): void {
    const { handle, event } = entry;
    if (event === "epoch" || event === "barrier") this.#standIn(entry.principal);
    if (handle === undefined) return;
    const foreign = entry.node !== this.#core.node;
    if (event === "end") this.#heardEnd(handle, entry);
    // Suspended by another node: this one was taken for dead, or the peer came back elsewhere.
    else if ((event === "resume" || event === "suspend") && foreign && this.#live.has(handle))
      this.#core.inBackground(this.#live.close(handle, TAKEN_OVER));
  }

  /** Closes what this process carries of an ended session, and writes the two lines its receipt waits for. */
  async closeAll(handle: Handle, known: SessionRecord | undefined): Promise<void> {
    if (!this.#live.has(handle)) return;
    const record =
      known?.ended === undefined ? (await this.#core.store.get(handle, { fresh: true }))?.record : known;
    if (!this.#live.has(handle)) return;
    this.#closing.add(handle);
    try {
      const now = this.#core.clock.now();
      const note: EndNote = record?.ended ?? { at: now, reason: "revoked", purgeAt: now };
      const closing = this.#live.close(handle, { kind: "ended", note });
      const detail = note.revocation === undefined ? {} : { revocation: note.revocation };
      if (record !== undefined)
        await this.#core.store
          .append([this.#core.entry(record, "transport-signalled", { detail })])
          .catch((error: unknown) => this.#core.fault(error));
      const failures = await closing;
      for (const failure of failures) this.#core.fault(failure);
      if (record === undefined) return;
      this.#remember(handle);
      const failed = failures.length === 0 ? {} : { failed: failures.map(String).join("; ") };
      await this.#core.store.append([
        this.#core.entry(record, "transport-closed", { detail: { ...detail, ...failed } }),
      ]);
    } finally {
      this.#closing.delete(handle);
    }
  }

  /** After the feed was away: whatever ended meanwhile must not go on being served here. */
  recheck(): Promise<void> {
    return this.#recheck(this.#live.handles());
  }

  /**
   * Rule: a node that cannot hear of revocations stops serving within its lease. Half of it is for noticing that the
   * feed is gone.
   */
  feedLost(): void {
    this.#core.clock.after(this.#deafMs, () => {
      if (this.deaf) this.dispossessed();
    });
  }

  /** Another node took this one for dead and has disposed of its sessions. */
  dispossessed(): void {
    for (const handle of this.#live.handles()) this.#core.inBackground(this.#live.close(handle, FEED_LOST));
  }

  /** True when revocations have not been heard of for so long that nothing may be served. */
  get deaf(): boolean {
    const { lostAt } = this.#feed();
    return lostAt !== undefined && this.#core.clock.now() - lostAt >= this.#deafMs;
  }

  get #deafMs(): number {
    return this.#core.policy.leaseMs / 2;
  }

  #heardEnd(handle: Handle, entry: JournalEntry): void {
    if (this.#live.has(handle)) {
      this.#core.inBackground(this.closeAll(handle, undefined));
      return;
    }
    const carriedHere = entry.detail?.["carriedBy"] === this.#core.node;
    if (entry.detail?.["revocation"] === undefined || !carriedHere) return;
    // Its receipt waits for this node. The connection may be about to be attached still; if not, there is none.
    this.#core.clock.after(ATTACH_MS, () => {
      if (this.#live.has(handle) || this.#closing.has(handle) || this.#reported.has(handle)) return;
      this.#core.inBackground(this.#reportNothingOpen(handle, entry));
    });
  }

  async #reportNothingOpen(handle: Handle, entry: JournalEntry): Promise<void> {
    const record = (await this.#core.store.get(handle, { fresh: true }))?.record;
    if (record === undefined) return;
    this.#remember(handle);
    const detail = { revocation: entry.detail?.["revocation"] ?? null, open: 0 };
    await this.#core.store.append([this.#core.entry(record, "transport-closed", { detail })]);
  }

  /** One report for each ended session is enough; the oldest are forgotten. */
  #remember(handle: Handle): void {
    this.#reported.add(handle);
    if (this.#reported.size <= REPORTED_KEPT) return;
    for (const oldest of this.#reported) {
      this.#reported.delete(oldest);
      return;
    }
  }

  /**
   * The node that raised an epoch or a barrier goes on to end the sessions it means. Should it die over that, those
   * carried here are ended here.
   */
  #standIn(principal: string | undefined): void {
    if (this.#live.size === 0) return;
    this.#core.clock.after(STAND_IN_MS, () => {
      const handles = principal === undefined ? this.#live.handles() : this.#live.handlesOf(principal);
      this.#core.inBackground(this.#recheck(handles));
    });
  }

  async #recheck(handles: readonly Handle[]): Promise<void> {
    for (let from = 0; from < handles.length; from += AT_ONCE)
      await Promise.all(handles.slice(from, from + AT_ONCE).map((handle) => this.#recheckOne(handle)));
  }

  async #recheckOne(handle: Handle): Promise<void> {
    const { store, clock, node } = this.#core;
    const found = await store.get(handle, { fresh: true });
    if (!this.#live.has(handle)) return;
    const refusal = await this.#refusalOf(found);
    if (refusal === undefined) {
      if (found?.record.owner !== undefined && found.record.owner.node !== node)
        await this.#live.close(handle, TAKEN_OVER);
      return;
    }
    if (found !== undefined && (refusal === "revoked" || refusal === "locked")) {
      const barriers = await store.barriers(clock.now());
      await this.#end(found.record, causeOf(found.record, barriers, clock.now()));
    }
    await this.closeAll(handle, found?.record);
  }

  async #refusalOf(found: Found | undefined): Promise<Refusal | undefined> {
    if (found === undefined) return "unknown";
    const { store, clock } = this.#core;
    const refusal = judgeStanding(found, clock.now(), await this.#feed().barriers());
    // The lock may have been lifted elsewhere a moment ago.
    if (refusal !== "revoked" && refusal !== "locked") return refusal;
    return judgeStanding(found, clock.now(), await store.barriers(clock.now()));
  }
}

const FEED_LOST: CloseCause = { kind: "feed-lost" };
const TAKEN_OVER: CloseCause = { kind: "taken-over" };
/** Between being established and being attached, a connection is for a moment not known here. */
const ATTACH_MS = 100;
const STAND_IN_MS = 1_000;
const AT_ONCE = 64;
const REPORTED_KEPT = 10_000;
