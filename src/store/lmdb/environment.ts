import { randomBytes } from "node:crypto";
import { mkdirSync, realpathSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";

import type { Database, RootDatabase } from "lmdb";
import { open } from "lmdb";

import { HoldfastError } from "../../kernel/errors.ts";
import { assertDataFile } from "./data-file.ts";
import type { DatabaseName } from "./layout.ts";
import { FORMAT, META } from "./layout.ts";
import { WriteQueue } from "./write-queue.ts";

export type Databases = Readonly<
  Record<Exclude<DatabaseName, "tickets" | "journal">, Database<string, string>>
> & {
  readonly journal: Database<string, number>;
  readonly tickets: Database<Uint8Array, string>;
};

/**
 * One folder, opened once in this process however many stores use it: two LMDB environments on one folder in one
 * process would wait for each other's write lock on the same thread.
 */
export class Environment {
  static readonly #open = new Map<string, Environment>();
  static #exitIsWatched = false;

  readonly path: string;
  readonly root: RootDatabase<string, string>;
  readonly db: Databases;
  readonly journalId: string;
  readonly writes: WriteQueue;
  #users = 0;
  #closing: Promise<void> | undefined;
  #readsAreFresh = false;

  /** @throws HoldfastError `store-unavailable` or `store-corrupt`, saying what is the matter with the folder. */
  static use(folder: string, maxReaders: number): Environment {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const path = realpathSync(folder);
      let shared = Environment.#open.get(path);
      if (shared === undefined) {
        assertDataFile(join(path, DATA_FILE));
        shared = new Environment(path, maxReaders);
        Environment.#watchExit();
      }
      Environment.#open.set(path, shared);
      shared.#users += 1;
      return shared;
    } catch (error) {
      throw explain(folder, error);
    }
  }

  /** Once, and before the driver hears of it, whose listener came with the first environment. */
  static #watchExit(): void {
    if (Environment.#exitIsWatched || !isMainThread) return;
    Environment.#exitIsWatched = true;
    process.prependListener("exit", () => {
      for (const { writes } of Environment.#open.values()) leave(writes);
    });
  }

  private constructor(path: string, maxReaders: number) {
    this.path = path;
    // The map is address space, not memory or disk; it grows by itself beyond this.
    this.root = open<string, string>({
      path,
      noSubdir: false,
      maxDbs: 16,
      maxReaders,
      mapSize: 2 ** 30,
      encoding: "string",
    });
    try {
      this.db = openDatabases(this.root);
      this.journalId = readIdentity(this.root, this.db.meta);
    } catch (error) {
      void this.root.close();
      throw error;
    }
    this.writes = new WriteQueue(this.root);
  }

  get dataFile(): string {
    return join(this.path, DATA_FILE);
  }

  /**
   * Called before each read. A read transaction is a snapshot that lmdb keeps for a while; what another process had
   * acknowledged before we were called must be in it, so each turn of the event loop begins with a new one.
   */
  freshen(): void {
    if (this.#readsAreFresh) return;
    this.#readsAreFresh = true;
    process.nextTick(this.#stale);
    this.root.resetReadTxn();
  }

  /** The newest snapshot there is, whatever was read before in this turn. */
  renew(): void {
    this.root.resetReadTxn();
  }

  readonly #stale = (): void => {
    this.#readsAreFresh = false;
  };

  /** A copy of the newest snapshot. Its journal has an id of its own: a cursor of ours is no place in what it goes on with. */
  async copyTo(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await this.root.backup(folder, true);
    const copy = open<string, string>({ path: folder, noSubdir: false, maxDbs: 16, encoding: "string" });
    await copy
      .openDB<string, string>({ name: "meta", encoding: "string" })
      .put(META.journalId, newJournalId());
    await copy.close();
  }

  /** The last one to go waits for what is under way; who comes meanwhile keeps the environment open. */
  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    await this.writes.idle();
    if (this.#users > 0) return;
    if (this.#closing === undefined) {
      Environment.#open.delete(this.path);
      this.#closing = this.root.close();
    }
    await this.#closing;
  }
}

const DATA_FILE = "data.mdb";
/** What a flush is given at the end of the process. */
const FLUSH_MS = 100;

/**
 * `process.exit` closes LMDB under the thread that writes, which waits for this one: neither would ever end, or the file's
 * write lock would be lost for all processes. A killed process gives the lock back, and nothing acknowledged is lost.
 */
function leave({ underWay }: WriteQueue): void {
  if (underWay === "flush") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FLUSH_MS);
  if (underWay !== "commit") return;
  writeSync(
    process.stderr.fd,
    "holdfast: the process exits while sessions are being written, and is killed for it; close the store first.\n",
  );
  process.kill(process.pid, "SIGKILL");
}

function openDatabases(root: RootDatabase<string, string>): Databases {
  const text = (name: DatabaseName): Database<string, string> =>
    root.openDB<string, string>({ name, encoding: "string" });
  return {
    records: root.openDB<string, string>({ name: "records", encoding: "string", useVersions: true }),
    keys: text("keys"),
    terms: text("terms"),
    due: text("due"),
    journal: root.openDB<string, number>({ name: "journal", encoding: "string" }),
    timelines: text("timelines"),
    epochs: text("epochs"),
    barriers: text("barriers"),
    tickets: root.openDB<Uint8Array, string>({ name: "tickets", encoding: "binary" }),
    ticketExpiry: text("ticketExpiry"),
    nodes: text("nodes"),
    meta: text("meta"),
  };
}

/** Marks a new folder as ours, and refuses one of another layout. Answers the journal's id. */
function readIdentity(root: RootDatabase<string, string>, meta: Database<string, string>): string {
  // Once per process and folder, so that a synchronous transaction does no harm; two processes cannot both name it.
  return root.transactionSync(() => {
    const format = meta.get(META.format);
    if (format === undefined) {
      meta.putSync(META.format, FORMAT);
      meta.putSync(META.journalId, newJournalId());
    } else if (format !== FORMAT) {
      throw new HoldfastError(
        "store-corrupt",
        `The folder has layout ${format}; this release reads layout ${FORMAT}.`,
      );
    }
    const id = meta.get(META.journalId);
    if (id === undefined) throw new HoldfastError("store-corrupt", "The folder has no journal id.");
    return id;
  });
}

function newJournalId(): string {
  return randomBytes(6).toString("hex");
}

function explain(folder: string, error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const detail = { path: folder };
  if (/MDB_(INVALID|CORRUPTED|VERSION_MISMATCH|PAGE_NOTFOUND|BAD_DBI|INCOMPATIBLE)/.test(text)) {
    return new HoldfastError(
      "store-corrupt",
      "The folder's data.mdb is not an LMDB file of ours, or is damaged; restore a backup or use another folder.",
      { cause: error, detail },
    );
  }
  if (/MDB_READERS_FULL/.test(text)) {
    return new HoldfastError(
      "store-unavailable",
      "Too many processes have the folder open; raise maxReaders.",
      {
        cause: error,
        detail,
      },
    );
  }
  return new HoldfastError(
    "store-unavailable",
    `The store's folder cannot be opened (${text}); it must be a folder that this process may write to.`,
    { cause: error, detail },
  );
}
