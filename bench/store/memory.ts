import type { JournalEntry } from "../../src/kernel/journal.ts";
import type { SessionRecord } from "../../src/kernel/record.ts";
import { dueAt } from "../../src/kernel/record.ts";
import type { CredentialKey, Handle } from "../../src/kernel/secret.ts";
import { memory } from "../../src/store/memory/index.ts";
import type { Engine } from "./engine.ts";
import { fill, getting, updating } from "./engine.ts";

/** Beside plain Maps: one of records, one of keys, one of epochs, one of deadlines by the second, arrays of entries. */
export const engine: Engine = {
  name: "memory",
  size: 100_000,
  gets: 300_000,
  updates: 50_000,
  async prepare(records) {
    const store = memory();
    await fill(store, records);
    const maps = new PlainMaps(records);
    return {
      get: {
        ours: getting(records, (key) => store.find(key)),
        raw: getting(records, (key) => maps.find(key)),
      },
      update: {
        ours: updating(
          records,
          50,
          async ({ prev, next, entry }) => (await store.update(prev, next, [entry])) === "updated",
        ),
        raw: updating(records, 50, ({ prev, next, entry }) =>
          maps.update(prev, next, { ...entry, cursor: "" }),
        ),
      },
      dispose: () => store.close(),
    };
  },
};

class PlainMaps {
  readonly #records = new Map<Handle, SessionRecord>();
  readonly #keys = new Map<CredentialKey, Handle>();
  readonly #epochs = new Map<string, number>();
  readonly #due = new Map<number, Set<Handle>>();
  readonly #timelines = new Map<Handle, JournalEntry[]>();
  readonly #journal: JournalEntry[] = [];
  #seq = 0;

  constructor(records: readonly SessionRecord[]) {
    for (const record of records) {
      this.#records.set(record.handle, record);
      this.#keys.set(record.credentials.current as CredentialKey, record.handle);
      this.#timelines.set(record.handle, []);
      this.#bucket(record).add(record.handle);
    }
  }

  find(key: CredentialKey): { record: SessionRecord; epoch: number } | undefined {
    const handle = this.#keys.get(key);
    const record = handle === undefined ? undefined : this.#records.get(handle);
    if (record === undefined) return undefined;
    return { record, epoch: record.principal === undefined ? 0 : (this.#epochs.get(record.principal) ?? 0) };
  }

  async update(prev: SessionRecord, next: SessionRecord, entry: JournalEntry): Promise<boolean> {
    const stored = this.#records.get(prev.handle);
    if (stored === undefined || stored.version !== prev.version) return false;
    // A copy, as ours keeps one: what the caller does to its object later is not stored.
    this.#records.set(next.handle, { ...next, data: structuredClone(next.data) });
    this.#bucket(stored).delete(next.handle);
    this.#bucket(next).add(next.handle);
    const written = { ...entry, cursor: String(++this.#seq) };
    this.#journal[this.#seq % 100_000] = written;
    this.#timelines.get(next.handle)?.push(written);
    return true;
  }

  #bucket(record: SessionRecord): Set<Handle> {
    const second = Math.floor((dueAt(record) ?? 0) / 1000);
    let bucket = this.#due.get(second);
    if (bucket === undefined) this.#due.set(second, (bucket = new Set()));
    return bucket;
  }
}
