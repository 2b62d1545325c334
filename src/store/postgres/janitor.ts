import type { PostgresStatement } from "./client.ts";
import { numberIn, prepared } from "./client.ts";
import type { Database } from "./database.ts";
import type { Settings } from "./options.ts";

const EVERY_MS = 60_000;
const CHUNK = 1_000;

/** Drops what is past its time: old journal entries, expired tickets and barriers. One process at a time does it. */
export class Janitor {
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #trim: (values: unknown[]) => PostgresStatement;
  readonly #forget: (values: unknown[]) => PostgresStatement;
  #cancel: () => void;
  #written = 0;
  #working: Promise<void> | undefined;
  #closed = false;
  trimmed = 0;
  /** Rounds that did not get to their end; the next one does what they left. */
  failures = 0;

  constructor(database: Database, settings: Settings) {
    this.#database = database;
    this.#settings = settings;
    this.#trim = prepared(`select "${settings.schema}".trim_journal($1, $2, $3) as gone`);
    this.#forget = prepared(`select "${settings.schema}".forget_expired($1, $2) as gone`);
    this.#cancel = settings.clock.after(EVERY_MS, () => this.#tick());
  }

  /** So many journal entries were written by this process: enough of them make it look before its time. */
  wrote(entries: number): void {
    this.#written += entries;
    if (this.#written > Math.max(50, this.#settings.journalLimit / 20)) this.#work();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel();
    await this.#working;
  }

  #tick(): void {
    this.#work();
    this.#cancel = this.#settings.clock.after(EVERY_MS, () => this.#tick());
  }

  #work(): void {
    if (this.#working !== undefined || this.#closed) return;
    this.#written = 0;
    this.#working = this.#round().then(
      () => {
        this.#working = undefined;
      },
      () => {
        this.failures++;
        this.#working = undefined;
      },
    );
  }

  async #round(): Promise<void> {
    const { clock, journalLimit, journalMs } = this.#settings;
    const now = clock.now();
    while (!this.#closed) {
      const gone = await this.#run(this.#trim([journalLimit, now - journalMs, CHUNK]));
      this.trimmed += gone;
      if (gone < CHUNK) break;
    }
    while (!this.#closed && (await this.#run(this.#forget([now, CHUNK]))) === CHUNK);
  }

  async #run(statement: PostgresStatement): Promise<number> {
    const [row] = await this.#database.run(statement, this.#settings.slowTimeoutMs);
    return row === undefined ? 0 : numberIn(row, "gone");
  }
}
