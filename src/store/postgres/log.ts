import type {
  AppendOutcome,
  LogAck,
  LogBatch,
  LogEntry,
  ReadLimits,
  SessionLog,
  StreamState,
} from "../../kernel/log.ts";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle } from "../../kernel/secret.ts";
import { storeClosed } from "../preconditions.ts";
import { StreamLanes } from "../stream-lanes.ts";
import type { PostgresPool, PostgresRow } from "./client.ts";
import { booleanIn, bytesIn, numberIn, textIn } from "./client.ts";
import { Coalescer } from "./coalescer.ts";
import { Database } from "./database.ts";
import type { LogStatements } from "./log-statements.ts";
import { logStatements, logTables } from "./log-statements.ts";
import type { PostgresConnection, Settings } from "./options.ts";
import { settingsFrom } from "./options.ts";

export interface PostgresLogOptions {
  /** The schema the two tables are kept in; may be the session store's. `holdfast` unless given. */
  readonly schema?: string;
  /** How long a call may take before it is given up as `store-unavailable`; 250 unless given. */
  readonly timeoutMs?: number;
  /** Connections at most, when the pool is ours: 2 or more, 4 unless given. */
  readonly connections?: number;
  /** Streams in one statement at most; 500 unless given. */
  readonly maxBatch?: number;
}

/**
 * Streams in PostgreSQL: a row a stream and a row an entry. All that is appended in one turn, whatever its stream, is
 * one statement. `stored` does not wait for PostgreSQL's disk, `durable` does.
 */
export function postgresLog(
  target: string | PostgresConnection | PostgresPool,
  options: PostgresLogOptions = {},
): SessionLog {
  const settings = settingsFrom({ connections: 4, ...options });
  return new PostgresLog(new Database(target, settings), settings);
}

interface Append {
  readonly handle: Handle;
  readonly epoch: number;
  readonly batch: LogBatch;
}

class PostgresLog implements SessionLog {
  readonly kind = "postgres";
  readonly reach = "network";
  readonly #database: Database;
  readonly #settings: Settings;
  readonly #statements: LogStatements;
  readonly #lanes = new StreamLanes((...call) => this.#send(...call));
  readonly #stored: Coalescer<Append, AppendOutcome>;
  readonly #durable: Coalescer<Append, AppendOutcome>;
  #ready: Promise<void> | undefined;
  #closed = false;
  readonly #counts = { appends: 0, entries: 0, reads: 0 };

  constructor(database: Database, settings: Settings) {
    this.#database = database;
    this.#settings = settings;
    this.#statements = logStatements(settings.schema);
    this.#stored = this.#coalescer("off");
    this.#durable = this.#coalescer("on");
  }

  async open(handle: Handle, epoch: number): Promise<StreamState | "fenced"> {
    const [row] = await this.#run(this.#statements.open([handle, epoch]));
    if (row === undefined) return "fenced";
    return {
      first: numberIn(row, "first"),
      next: numberIn(row, "next"),
      ...(row["mark"] !== null && { mark: bytesIn(row, "mark") }),
    };
  }

  append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    if (this.#closed) return Promise.reject(storeClosed("postgres log"));
    return this.#lanes.append(handle, epoch, batch, ack);
  }

  async read(handle: Handle, from: number, limits: ReadLimits): Promise<readonly LogEntry[]> {
    this.#counts.reads++;
    const found: LogEntry[] = [];
    let size = 0;
    for (let at = from; found.length < limits.entries;) {
      const count = Math.min(PAGE, limits.entries - found.length);
      const rows = await this.#run(this.#statements.read([handle, at, count]));
      for (const row of rows) {
        const entry = { number: numberIn(row, "seq"), bytes: bytesIn(row, "bytes") };
        size += entry.bytes.length;
        if (size > limits.bytes && found.length > 0) return found;
        found.push(entry);
        at = entry.number + 1;
      }
      if (rows.length < count) break;
    }
    return found;
  }

  async drop(handle: Handle, epoch: number): Promise<boolean> {
    const [row] = await this.#run(this.#statements.drop([handle, epoch]));
    return row !== undefined && booleanIn(row, "dropped");
  }

  async handles(after: Handle | undefined, limit: number): Promise<readonly Handle[]> {
    const rows = await this.#run(this.#statements.handles([after ?? "", limit]));
    return rows.flatMap((row) => parseHandle(textIn(row, "handle")) ?? []);
  }

  stats(): Readonly<Record<string, number>> {
    const statements = this.#database.statements;
    return { ...this.#counts, statements, batches: this.#stored.batches + this.#durable.batches };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stored.close(storeClosed("postgres log"));
    this.#durable.close(storeClosed("postgres log"));
    await this.#database.close();
  }

  async #send(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    const outcome = await (ack === "durable" ? this.#durable : this.#stored).do({ handle, epoch, batch });
    this.#counts.appends++;
    this.#counts.entries += batch.entries.length;
    return outcome;
  }

  #coalescer(synchronous: "on" | "off"): Coalescer<Append, AppendOutcome> {
    return new Coalescer<Append, AppendOutcome>({
      run: async (appends, timeoutMs) => {
        const rows = await this.#run(this.#statements.append([...columns(appends), synchronous]), timeoutMs);
        return rows.map(outcomeIn);
      },
      identity: (append) => append.handle,
      maxBatch: this.#settings.maxBatch,
      lanes: 2,
      timeoutMs: this.#settings.timeoutMs,
    });
  }

  async #run(
    statement: ReturnType<LogStatements["open"]>,
    timeoutMs: number = this.#settings.timeoutMs,
  ): Promise<readonly PostgresRow[]> {
    if (this.#closed) throw storeClosed("postgres log");
    this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    await this.#ready;
    return this.#database.run(statement, timeoutMs);
  }

  /** Makes the tables when they are not there; any number of processes may do so at once. */
  async #prepare(): Promise<void> {
    const { schema, timeoutMs, slowTimeoutMs } = this.#settings;
    const present = {
      text: "select 1 as there where to_regclass($1) is not null",
      values: [`"${schema}".log_entry`],
    };
    if ((await this.#database.run(present, timeoutMs)).length > 0) return;
    await this.#database.run({ text: logTables(schema) }, slowTimeoutMs);
  }
}

/** One array a column, as `unnest` takes them: first the streams, then all their entries. */
function columns(appends: readonly Append[]): unknown[] {
  const owners: string[] = [];
  const numbers: number[] = [];
  const entries: Uint8Array[] = [];
  for (const { handle, batch } of appends) {
    batch.entries.forEach((entry, index) => {
      owners.push(handle);
      numbers.push(batch.from + index);
      entries.push(asBuffer(entry));
    });
  }
  return [
    appends.map((one) => one.handle),
    appends.map((one) => one.epoch),
    appends.map((one) => one.batch.from),
    appends.map((one) => one.batch.entries.length),
    appends.map((one) => (one.batch.mark === undefined ? null : asBuffer(one.batch.mark))),
    appends.map((one) => one.batch.trim ?? 0),
    owners,
    numbers,
    entries,
  ];
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function outcomeIn(row: PostgresRow): AppendOutcome {
  const outcome = textIn(row, "outcome");
  return outcome === "appended" || outcome === "fenced" ? outcome : "misplaced";
}

const PAGE = 500;
