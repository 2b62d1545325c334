import type { Core } from "./core.ts";
import type { Feed } from "./feed.ts";
import type { JournalEntry } from "./journal.ts";
import { judgeStanding } from "./judge.ts";
import type { LiveTransport } from "./live.ts";
import { LiveTransports } from "./live.ts";
import type { EndNote, SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";

/** The connections of this process that carry sessions, and when they have to close. */
export class Carriage {
  readonly #core: Core;
  readonly #feed: () => Feed;
  readonly #live = new LiveTransports();

  constructor(core: Core, feed: () => Feed) {
    this.#core = core;
    this.#feed = feed;
  }

  get size(): number {
    return this.#live.size;
  }

  async attach(record: SessionRecord, transport: LiveTransport): Promise<() => void> {
    const detach = this.#live.attach(record.handle, transport);
    const found = await this.#core.store.get(record.handle, { fresh: true });
    const refusal =
      found === undefined
        ? "unknown"
        : judgeStanding(found, this.#core.clock.now(), await this.#feed().barriers());
    if (refusal !== undefined) await this.closeAll(record.handle, found?.record);
    return detach;
  }

  heard(entry: JournalEntry): void {
    const { handle } = entry;
    if (handle !== undefined && this.#live.has(handle)) {
      if (entry.event === "end") this.#core.inBackground(this.closeAll(handle, undefined));
      if (entry.event === "resume" && entry.node !== this.#core.node) {
        this.#core.inBackground(this.#live.close(handle, { kind: "taken-over" }));
      }
    }
  }

  /** Closes what this process carries of an ended session, and writes the two lines its receipt waits for. */
  async closeAll(handle: Handle, known: SessionRecord | undefined): Promise<void> {
    if (!this.#live.has(handle)) return;
    const record =
      known?.ended === undefined ? (await this.#core.store.get(handle, { fresh: true }))?.record : known;
    if (!this.#live.has(handle)) return;
    const now = this.#core.clock.now();
    const note: EndNote = record?.ended ?? { at: now, reason: "revoked", purgeAt: now };
    const closing = this.#live.close(handle, { kind: "ended", note });
    const detail = note.revocation === undefined ? {} : { revocation: note.revocation };
    if (record !== undefined)
      await this.#core.store.append([this.#core.entry(record, "transport-signalled", { detail })]);
    const failures = await closing;
    for (const failure of failures) this.#core.fault(failure);
    if (record === undefined) return;
    const failed = failures.length === 0 ? {} : { failed: failures.map(String).join("; ") };
    await this.#core.store.append([
      this.#core.entry(record, "transport-closed", { detail: { ...detail, ...failed } }),
    ]);
  }

  /** After the feed was away: whatever ended meanwhile must not go on being served here. */
  async recheck(): Promise<void> {
    const barriers = await this.#core.store.barriers(this.#core.clock.now());
    for (const handle of this.#live.handles()) {
      const found = await this.#core.store.get(handle, { fresh: true });
      if (found === undefined || judgeStanding(found, this.#core.clock.now(), barriers) !== undefined) {
        await this.closeAll(handle, found?.record);
      } else if (found.record.owner !== undefined && found.record.owner.node !== this.#core.node) {
        await this.#live.close(handle, { kind: "taken-over" });
      }
    }
  }

  /** Rule: a node that cannot hear of revocations stops serving within its lease. */
  feedLost(): void {
    this.#core.clock.after(this.#core.policy.leaseMs, () => {
      const lostAt = this.#feed().lostAt;
      if (lostAt === undefined || this.#core.clock.now() - lostAt < this.#core.policy.leaseMs) return;
      for (const handle of this.#live.handles())
        this.#core.inBackground(this.#live.close(handle, { kind: "feed-lost" }));
    });
  }
}
