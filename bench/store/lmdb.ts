import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { open } from "lmdb";

import type { JournalDraft } from "../../src/kernel/journal.ts";
import type { SessionRecord } from "../../src/kernel/record.ts";
import { dueAt } from "../../src/kernel/record.ts";
import type { CredentialKey } from "../../src/kernel/secret.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import type { Engine } from "./engine.ts";
import { fill, getting, updating } from "./engine.ts";

/**
 * Beside the lmdb package used directly, the way its manual recommends: `ifVersion` with the writes in its callback, all
 * of one turn in one transaction; the same databases, the same text, the same five writes an update. It numbers its
 * journal by a counter of this process, which is enough for one process and not for several.
 */
export const engine: Engine = {
  name: "lmdb",
  size: 50_000,
  gets: 100_000,
  updates: 10_000,
  async prepare(records) {
    const folders = [
      await mkdtemp(join(tmpdir(), "bench-lmdb-")),
      await mkdtemp(join(tmpdir(), "bench-raw-")),
    ] as const;
    const store = lmdb({ path: folders[0] });
    await fill(store, records);
    const raw = new RawLmdb(folders[1]);
    await raw.fill(records);
    return {
      get: {
        ours: getting(records, (key) => store.find(key)),
        raw: getting(records, (key) => raw.find(key)),
      },
      update: {
        ours: updating(
          records,
          50,
          async ({ prev, next, entry }) => (await store.update(prev, next, [entry])) === "updated",
        ),
        raw: updating(records, 50, ({ prev, next, entry }) => raw.update(prev, next, entry)),
      },
      async dispose() {
        await Promise.all([store.close(), raw.close()]);
        for (const folder of folders) await rm(folder, { recursive: true, force: true });
      },
    };
  },
};

class RawLmdb {
  readonly #root: ReturnType<typeof open>;
  readonly #records;
  readonly #keys;
  readonly #epochs;
  readonly #due;
  readonly #journal;
  readonly #timelines;
  #seq = 0;

  constructor(path: string) {
    this.#root = open({ path, noSubdir: false, maxDbs: 16, mapSize: 2 ** 30 });
    this.#records = this.#root.openDB<string, string>({
      name: "records",
      encoding: "string",
      useVersions: true,
    });
    this.#keys = this.#root.openDB<string, string>({ name: "keys", encoding: "string" });
    this.#epochs = this.#root.openDB<string, string>({ name: "epochs", encoding: "string" });
    this.#due = this.#root.openDB<string, string>({ name: "due", encoding: "string" });
    this.#journal = this.#root.openDB<string, number>({ name: "journal", encoding: "string" });
    this.#timelines = this.#root.openDB<string, string>({ name: "timelines", encoding: "string" });
  }

  async fill(records: readonly SessionRecord[]): Promise<void> {
    await this.#root.transaction(() => {
      for (const record of records) {
        this.#records.putSync(record.handle, JSON.stringify(record), record.version);
        this.#keys.putSync(record.credentials.current as CredentialKey, record.handle);
        this.#due.putSync(String(dueAt(record)) + record.handle, "");
      }
    });
  }

  find(key: CredentialKey): { record: SessionRecord; epoch: number } | undefined {
    const handle = this.#keys.get(key);
    const text = handle === undefined ? undefined : this.#records.get(handle);
    if (text === undefined) return undefined;
    const record = JSON.parse(text) as SessionRecord;
    return { record, epoch: Number(this.#epochs.get(`p:${record.principal}`) ?? 0) };
  }

  update(prev: SessionRecord, next: SessionRecord, entry: JournalDraft): Promise<boolean> {
    const { handle } = prev;
    return this.#records.ifVersion(handle, prev.version, () => {
      void this.#records.put(handle, JSON.stringify(next), next.version);
      void this.#due.remove(String(dueAt(prev)) + handle);
      void this.#due.put(String(dueAt(next)) + handle, "");
      const seq = ++this.#seq;
      const text = JSON.stringify(entry);
      void this.#journal.put(seq, text);
      void this.#timelines.put(handle + String(seq).padStart(16, "0"), text);
    });
  }

  close(): Promise<void> {
    return this.#root.close();
  }
}
