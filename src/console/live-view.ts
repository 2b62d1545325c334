import type { Handle, JournalEntry, Kernel } from "../kernel/index.ts";
import type { SessionQuery, SessionRow, Summary } from "./contract.ts";
import { sessionRow } from "./rows.ts";

export interface Patch {
  readonly changed: readonly SessionRow[];
  readonly ended: readonly SessionRow[];
  readonly entries: readonly JournalEntry[];
  /** The journal's cursor after the last entry in it. */
  readonly cursor: string;
}

export interface ViewListener {
  patch(patch: Patch): void;
  /** What was known is in doubt, and has been loaded afresh. */
  reloaded(): void;
  feed(live: boolean): void;
}

/**
 * All live sessions as rows in memory, kept by the journal, so that filtering a hundred thousand of them and telling
 * every open page what changed costs no look at the store. It begins when somebody looks, and ends some time after
 * nobody does any more. Touches are not journalled: `touchedAt` and `idleAt` are as of the session's last change.
 */
export class LiveView {
  readonly #kernel: Kernel;
  readonly #rows = new Map<Handle, SessionRow>();
  readonly #listeners = new Set<ViewListener>();
  #dirty = new Map<Handle, true>();
  #entries: JournalEntry[] = [];
  #loading: Promise<void> | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #stop: (() => void) | undefined;
  #cancelTick: () => void = () => {};
  #live = true;
  #usedAt = 0;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** Resolves when the rows are there, with all that this node has heard so far. */
  async ready(): Promise<void> {
    this.#usedAt = this.#kernel.clock.now();
    this.#loading ??= this.#begin().catch((error: unknown) => {
      this.close();
      throw error;
    });
    await this.#loading;
    await this.#flush();
  }

  close(): void {
    this.#stop?.();
    this.#stop = undefined;
    this.#cancelTick();
    this.#loading = undefined;
    this.#rows.clear();
  }

  listen(listener: ViewListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  row(handle: Handle): SessionRow | undefined {
    return this.#rows.get(handle);
  }

  /** Matching rows, the newest first, from behind the row that `after` names. */
  search(query: SessionQuery, limit: number): { rows: SessionRow[]; next: string | undefined } {
    const now = this.#kernel.clock.now();
    const found: SessionRow[] = [];
    for (const row of this.#rows.values()) if (meets(row, query, now)) found.push(row);
    found.sort(newestFirst);
    const start = query.after === undefined ? 0 : found.findIndex((row) => isBehind(row, query.after ?? ""));
    const rows = start === -1 ? [] : found.slice(start, start + limit);
    const last = rows.at(-1);
    const more = start !== -1 && start + limit < found.length && last !== undefined;
    return { rows, next: more ? placeOf(last) : undefined };
  }

  counts(): Summary["sessions"] {
    const counts = new Map<string, { mechanism: string; state: SessionRow["state"]; count: number }>();
    for (const { mechanism, state } of this.#rows.values()) {
      const key = `${mechanism} ${state}`;
      const known = counts.get(key);
      if (known === undefined) counts.set(key, { mechanism, state, count: 1 });
      else known.count++;
    }
    return [...counts.values()].sort((a, b) => b.count - a.count);
  }

  async #begin(): Promise<void> {
    this.#stop = this.#kernel.onEntry((entry) => {
      this.#entries.push(entry);
      if (entry.handle !== undefined) this.#dirty.set(entry.handle, true);
    });
    await this.#load();
    this.#schedule();
  }

  async #load(): Promise<void> {
    const rows = new Map<Handle, SessionRow>();
    for await (const record of this.#kernel.sessions({ all: true }))
      rows.set(record.handle, sessionRow(record));
    this.#rows.clear();
    for (const [handle, row] of rows) this.#rows.set(handle, row);
  }

  #schedule(): void {
    this.#cancelTick = this.#kernel.clock.after(TICK_MS, () => {
      const tick = this.#tick().finally(() => {
        if (this.#stop !== undefined) this.#schedule();
      });
      this.#kernel.inBackground(tick);
    });
  }

  async #tick(): Promise<void> {
    if (this.#kernel.feedLive !== this.#live) {
      this.#live = this.#kernel.feedLive;
      if (this.#live) await this.#load();
      for (const listener of this.#listeners) {
        if (this.#live) listener.reloaded();
        listener.feed(this.#live);
      }
    }
    const unused = this.#listeners.size === 0 && this.#kernel.clock.now() - this.#usedAt > KEEP_MS;
    if (unused) this.close();
    else await this.#flush();
  }

  /** One after the other, so that patches are told in order. */
  #flush(): Promise<void> {
    const flushed = this.#flushing.then(() => this.#flushNow());
    this.#flushing = flushed.catch(() => {});
    return flushed;
  }

  async #flushNow(): Promise<void> {
    if (this.#entries.length === 0) return;
    const entries = this.#entries;
    const dirty = this.#dirty;
    this.#entries = [];
    this.#dirty = new Map();
    const changed: SessionRow[] = [];
    const ended: SessionRow[] = [];
    const found = await Promise.all(
      [...dirty.keys()].map(async (handle) => this.#kernel.store.get(handle)),
    ).catch((error: unknown) => {
      // The store is away: what changed is still to be told when it is back.
      this.#entries = [...entries, ...this.#entries];
      this.#dirty = new Map([...dirty, ...this.#dirty]);
      throw error;
    });
    for (const one of found) {
      if (one === undefined) continue;
      const row = sessionRow(one.record);
      if (row.state !== "ended" && one.record.epoch >= one.epoch) {
        this.#rows.set(row.handle, row);
        changed.push(row);
      } else if (this.#rows.delete(row.handle)) ended.push(row);
    }
    const cursor = entries.at(-1)?.cursor ?? "";
    for (const listener of this.#listeners) listener.patch({ changed, ended, entries, cursor });
  }
}

function meets(row: SessionRow, query: SessionQuery, now: number): boolean {
  if (query.principal !== undefined && row.principal !== query.principal) return false;
  if (query.mechanism !== undefined && row.mechanism !== query.mechanism) return false;
  if (query.node !== undefined && row.node !== query.node) return false;
  if (query.state !== undefined && row.state !== query.state) return false;
  if (query.tenant !== undefined && row.tenant !== query.tenant) return false;
  if (query.parent !== undefined && row.parent !== query.parent) return false;
  const ageMs = now - row.createdAt;
  if (query.olderThan !== undefined && ageMs < query.olderThan) return false;
  if (query.youngerThan !== undefined && ageMs > query.youngerThan) return false;
  return query.q === undefined || mentions(row, query.q.toLowerCase());
}

function mentions(row: SessionRow, words: string): boolean {
  const { handle, principal = "", label = "", peer } = row;
  return [handle, principal, label, peer.address ?? "", peer.agent ?? ""].some((text) =>
    text.toLowerCase().includes(words),
  );
}

function newestFirst(a: SessionRow, b: SessionRow): number {
  return b.createdAt - a.createdAt || (a.handle < b.handle ? -1 : 1);
}

/** A row's place in the order, which holds also when the row itself is gone by the time of the next page. */
function placeOf(row: SessionRow): string {
  return `${row.createdAt}.${row.handle}`;
}

function isBehind(row: SessionRow, place: string): boolean {
  const dot = place.indexOf(".");
  const at = Number(place.slice(0, dot));
  return row.createdAt < at || (row.createdAt === at && row.handle > place.slice(dot + 1));
}

const TICK_MS = 100;
const KEEP_MS = 10 * 60_000;
