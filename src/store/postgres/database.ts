import pg from "pg";
import { HoldfastError, isHoldfastError } from "../../kernel/index.ts";
import { storeClosed } from "../preconditions.ts";
import type { PostgresClient, PostgresPool, PostgresRow, PostgresStatement } from "./client.ts";
import type { PostgresConnection, Settings } from "./options.ts";
import { isPool } from "./options.ts";

/** A pool of connections where everything ends in time: with an answer, or with `store-unavailable`. */
export class Database {
  readonly #pool: PostgresPool;
  /** Ends the pool, when it is ours. */
  readonly #endPool: () => Promise<void>;
  #closed = false;
  /** Connections that broke while nobody used them; their pool has dropped them. */
  brokenIdle = 0;
  statements = 0;

  constructor(target: string | PostgresConnection | PostgresPool, settings: Settings) {
    const connection = typeof target === "string" ? { connectionString: target } : target;
    if (isPool(connection)) {
      this.#pool = connection;
      this.#endPool = async () => undefined;
      return;
    }
    const { ssl, ...rest } = connection;
    const pool = new pg.Pool({
      application_name: "holdfast",
      keepAlive: true,
      allowExitOnIdle: true,
      ...rest,
      ...(ssl === undefined ? {} : { ssl: typeof ssl === "boolean" ? ssl : { ...ssl } }),
      max: settings.connections,
      connectionTimeoutMillis: settings.timeoutMs,
      // What we gave up waiting for must not go on for long.
      statement_timeout: settings.slowTimeoutMs,
    });
    pool.on("error", () => {
      this.brokenIdle++;
    });
    // Between the pool's listener and that of whoever gets the connection there is none, and a server that ends a
    // connection with its very first answer would end this process.
    pool.on("connect", (client) => client.on("error", () => undefined));
    this.#pool = pool;
    this.#endPool = () => pool.end();
  }

  /** Runs one statement. A connection that does not answer in time is closed: its server may be gone. */
  async run(statement: PostgresStatement, timeoutMs: number): Promise<readonly PostgresRow[]> {
    const until = performance.now() + timeoutMs;
    const client = await this.connect(timeoutMs);
    this.statements++;
    let failure: Error | undefined;
    const broken = (error: Error): void => {
      failure = error;
    };
    client.on("error", broken);
    try {
      const { rows } = await inTime(client.query(statement), until - performance.now(), timeoutMs);
      return rows;
    } catch (error) {
      const unavailable = this.#unavailable(error);
      // After an error of the statement alone the connection is as good as before.
      if (!isOfStatement(error)) failure ??= unavailable;
      throw unavailable;
    } finally {
      client.removeListener("error", broken);
      client.release(failure);
    }
  }

  /** A connection of one's own, to be released. @throws HoldfastError `store-unavailable`, `store-closed`. */
  async connect(timeoutMs: number): Promise<PostgresClient> {
    if (this.#closed) throw storeClosed("postgres");
    const connecting = this.#pool.connect();
    try {
      return await inTime(connecting, timeoutMs, timeoutMs);
    } catch (error) {
      // It may yet come, and is not wanted any more.
      connecting.then(
        (client) => client.release(),
        () => undefined,
      );
      throw this.#unavailable(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#endPool();
  }

  #unavailable(error: unknown): HoldfastError {
    if (this.#closed) return storeClosed("postgres");
    if (isHoldfastError(error)) return error;
    const state = sqlState(error);
    const why = error instanceof Error && error.message !== "" ? error.message : String(error);
    return new HoldfastError("store-unavailable", `PostgreSQL did not do it: ${why}`, {
      cause: error,
      detail: state === undefined ? {} : { sqlState: state },
    });
  }
}

/** The five characters PostgreSQL names its errors with; `undefined` when it was not PostgreSQL that spoke. */
function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return undefined;
  return /^[0-9A-Z]{5}$/.test(error.code) && "severity" in error ? error.code : undefined;
}

function isOfStatement(error: unknown): boolean {
  return (
    sqlState(error) !== undefined &&
    error instanceof Error &&
    "severity" in error &&
    error.severity === "ERROR"
  );
}

/** @throws HoldfastError `store-unavailable` after `ms`; the message says `promisedMs`. */
export function inTime<T>(promise: Promise<T>, ms: number, promisedMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(
        new HoldfastError("store-unavailable", `PostgreSQL did not answer within ${promisedMs} ms.`, {
          detail: { timeoutMs: promisedMs },
        }),
      );
    }, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
