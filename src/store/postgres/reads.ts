import type {
  CredentialKey,
  Found,
  Handle,
  JournalEntry,
  ListPage,
  ListQuery,
  SessionRecord,
  Standing,
} from "../../kernel/index.ts";
import { decodeRecord } from "../../kernel/index.ts";
import type { PostgresStatement } from "./client.ts";
import { numberIn, prepared, textIn } from "./client.ts";
import { Coalescer } from "./coalescer.ts";
import { column, SEPARATOR, textArray } from "./column.ts";
import { parsePlace } from "./cursor.ts";
import type { Database } from "./database.ts";
import { entryFrom } from "./journal.ts";
import type { Settings } from "./options.ts";

type Prepared = (values: unknown[]) => PostgresStatement;

export class Reads {
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #byKey: Coalescer<string, Found | undefined>;
  readonly #byHandle: Coalescer<string, Found | undefined>;
  readonly #standings: Coalescer<string | undefined, Standing>;
  readonly #standing: Prepared;
  readonly #list: Prepared;
  readonly #due: Prepared;
  readonly #timeline: Prepared;

  constructor(database: Database, settings: Settings) {
    this.#database = database;
    this.#settings = settings;
    const { timeoutMs, maxBatch } = settings;
    const S = `"${settings.schema}"`;
    this.#standing = prepared(`select * from ${S}.standings($1)`);
    this.#list = prepared(`select * from ${S}.list_sessions($1, $2, $3)`);
    this.#due = prepared(`select * from ${S}.due_sessions($1, $2)`);
    this.#timeline = prepared(
      `select h.generation, t.* from ${S}.journal_head() h cross join lateral ${S}.timeline_page($1, $2, $3) t`,
    );
    const finding = (by: string): Coalescer<string, Found | undefined> => {
      const find = prepared(`select ${S}.find_by_${by}($1) as found`);
      return new Coalescer({
        run: (asked, ms) => this.#findAll(find, asked, ms),
        maxBatch,
        lanes: LANES,
        timeoutMs,
      });
    };
    this.#byKey = finding("keys");
    this.#byHandle = finding("handles");
    this.#standings = new Coalescer({
      run: (principals, ms) => this.#standingOfAll(principals, ms),
      maxBatch,
      lanes: LANES,
      timeoutMs,
    });
  }

  find(key: CredentialKey): Promise<Found | undefined> {
    return this.#byKey.do(column(key));
  }

  get(handle: Handle): Promise<Found | undefined> {
    return this.#byHandle.do(column(handle));
  }

  standing(principal: string | undefined): Promise<Standing> {
    return this.#standings.do(principal);
  }

  async list({ term, after, limit }: ListQuery): Promise<ListPage> {
    const values = [column(term), after === undefined ? "" : column(after), limit + 1];
    const rows = await this.#database.run(this.#list(values), this.#settings.slowTimeoutMs);
    const found = rows.slice(0, limit).map((row): Found => {
      return { record: decodeRecord(textIn(row, "record")), epoch: numberIn(row, "epoch") };
    });
    const last = found.at(-1);
    return rows.length > limit && last !== undefined ? { found, next: last.record.handle } : { found };
  }

  async due(now: number, limit: number): Promise<readonly SessionRecord[]> {
    const rows = await this.#database.run(this.#due([now, limit]), this.#settings.slowTimeoutMs);
    return rows.map((row) => decodeRecord(textIn(row, "record")));
  }

  async timeline(
    handle: Handle,
    options: { after?: string; limit?: number },
  ): Promise<readonly JournalEntry[]> {
    const after = options.after === undefined ? undefined : parsePlace(options.after);
    const seq = after?.kind === "entry" ? after.seq : "0";
    const values = [column(handle), seq, options.limit ?? TIMELINE];
    const rows = await this.#database.run(this.#timeline(values), this.#settings.slowTimeoutMs);
    return rows.map((row) => entryFrom(row, textIn(row, "generation")));
  }

  /** About how many rows there are, as PostgreSQL estimates them. */
  async sizes(): Promise<Readonly<Record<string, number>>> {
    const rows = await this.#database.run(
      {
        text: "select relname, n_live_tup::float8 as rows from pg_stat_user_tables where schemaname = $1",
        values: [this.#settings.schema],
      },
      this.#settings.slowTimeoutMs,
    );
    const sizes = new Map(rows.map((row) => [textIn(row, "relname"), numberIn(row, "rows")]));
    return Object.fromEntries(COUNTED.map(([name, table]) => [name, sizes.get(table) ?? 0]));
  }

  stats(): Readonly<Record<string, number>> {
    return {
      reads: this.#byKey.items + this.#byHandle.items,
      readBatches: this.#byKey.batches + this.#byHandle.batches,
    };
  }

  close(error: Error): void {
    this.#byKey.close(error);
    this.#byHandle.close(error);
    this.#standings.close(error);
  }

  async #findAll(
    find: Prepared,
    asked: readonly string[],
    timeoutMs: number,
  ): Promise<readonly (Found | undefined)[]> {
    const [row] = await this.#database.run(find([textArray(asked)]), timeoutMs);
    const found = asked.map((): Found | undefined => undefined);
    // Nothing at all was found.
    if (row === undefined || row["found"] === null) return found;
    for (const text of textIn(row, "found").split(SEPARATOR)) {
      const first = text.indexOf(" ");
      const second = text.indexOf(" ", first + 1);
      found[Number(text.slice(0, first)) - 1] = {
        record: decodeRecord(text.slice(second + 1)),
        epoch: Number(text.slice(first + 1, second)),
      };
    }
    return found;
  }

  async #standingOfAll(
    principals: readonly (string | undefined)[],
    timeoutMs: number,
  ): Promise<readonly Standing[]> {
    const names = principals.map((principal) => (principal === undefined ? null : column(principal)));
    const rows = await this.#database.run(this.#standing([names]), timeoutMs);
    return rows.map((row) => ({ epoch: numberIn(row, "epoch"), barrierSeq: numberIn(row, "barrier_seq") }));
  }
}

/** Statements of one kind under way at once. */
const LANES = 2;
/** Entries of a timeline unless a limit is given: all that are kept. */
const TIMELINE = 10_000;

const COUNTED = [
  ["records", "session"],
  ["keys", "credential"],
  ["terms", "term"],
  ["principals", "principal"],
  ["barriers", "barrier"],
  ["journal", "journal"],
  ["timelines", "timeline"],
  ["tickets", "ticket"],
  ["nodes", "node"],
] as const;
