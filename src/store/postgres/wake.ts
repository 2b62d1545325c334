import type { PostgresClient } from "./client.ts";
import { prepared } from "./client.ts";
import type { Database } from "./database.ts";
import { inTime } from "./database.ts";
import type { Settings } from "./options.ts";

/**
 * Tells followers that it is worth looking into the journal: at once when this process has written, by NOTIFY when
 * another has. It is never more than a hint. Followers look by themselves every `pollMs`, so that a lost notification
 * costs only time, and a pooler that cannot LISTEN only latency.
 *
 * The NOTIFY is a statement of its own after the write: within the write's transaction it would make all commits of the
 * database queue up behind one lock while each waits for the disk.
 */
export class Wake {
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #channel: string;
  /** What this process signs its notifications with, to know them again. */
  readonly #self = `${process.pid}.${Math.random().toString(36).slice(2)}`;
  readonly #waiting = new Set<() => void>();
  #followers = 0;
  #listening: PostgresClient | undefined;
  #connecting = false;
  #retryAt = 0;
  #notifying: "no" | "yes" | "again" = "no";
  #closed = false;
  /** Grows with every hint. */
  count = 0;
  lostNotifications = 0;
  lostListeners = 0;

  constructor(database: Database, settings: Settings) {
    this.#database = database;
    this.#settings = settings;
    this.#channel = `holdfast_${settings.schema}`.slice(0, 63);
  }

  get followers(): number {
    return this.#followers;
  }

  /** For as long as one follows; the answer ends it. */
  join(): () => void {
    this.#followers++;
    void this.#listen();
    return () => {
      this.#followers--;
      if (this.#followers === 0) this.#stopListening();
    };
  }

  /** Resolves with the next hint after number `seen`, after `ms`, or when `signal` is aborted or all is closed. */
  after(seen: number, ms: number, signal: AbortSignal): Promise<void> {
    if (this.count !== seen || signal.aborted || this.#closed) return Promise.resolve();
    void this.#listen();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }

  /** This process has written journal entries. */
  wrote(): void {
    this.hint();
    if (this.#notifying === "no") void this.#notify();
    else this.#notifying = "again";
  }

  close(): void {
    this.#closed = true;
    this.#stopListening();
    this.hint();
  }

  /** All followers look. */
  hint(): void {
    this.count++;
    for (const wake of this.#waiting) wake();
  }

  /** One notification at a time; what is written meanwhile shares the next. */
  async #notify(): Promise<void> {
    do {
      this.#notifying = "yes";
      try {
        await this.#database.run(NOTIFY([this.#channel, this.#self]), this.#settings.timeoutMs);
      } catch {
        // The write itself is committed; followers elsewhere find it when they look.
        this.lostNotifications++;
      }
    } while (this.#again());
    this.#notifying = "no";
  }

  #again(): boolean {
    return this.#notifying === "again";
  }

  async #listen(): Promise<void> {
    if (this.#listening !== undefined || this.#connecting || this.#closed) return;
    if (performance.now() < this.#retryAt) return;
    this.#connecting = true;
    let client: PostgresClient | undefined;
    try {
      client = await this.#database.connect(this.#settings.timeoutMs);
      this.#attach(client);
      const { timeoutMs } = this.#settings;
      await inTime(client.query({ text: `listen "${this.#channel}"` }), timeoutMs, timeoutMs);
      // What was notified before this was heard by nobody.
      this.hint();
    } catch (error) {
      this.lostListeners++;
      this.#retryAt = performance.now() + RETRY_MS;
      if (client !== undefined) this.#detach(client, error instanceof Error ? error : true);
    } finally {
      this.#connecting = false;
      if (this.#followers === 0 || this.#closed) this.#stopListening();
    }
  }

  #attach(client: PostgresClient): void {
    this.#listening = client;
    client.on("notification", (message) => {
      if (message.payload !== this.#self) this.hint();
    });
    client.on("error", (error) => {
      this.lostListeners++;
      this.#retryAt = performance.now() + RETRY_MS;
      this.#detach(client, error);
      // Followers find out for themselves whether it is only this connection.
      this.hint();
    });
  }

  #stopListening(): void {
    if (this.#listening !== undefined && !this.#connecting) this.#detach(this.#listening, true);
  }

  #detach(client: PostgresClient, why: Error | true): void {
    if (this.#listening !== client) return;
    this.#listening = undefined;
    client.release(why);
  }
}

const RETRY_MS = 1_000;
const NOTIFY = prepared("select pg_notify($1, $2)");
