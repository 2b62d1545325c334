import { createHash } from "node:crypto";
import { HoldfastError } from "../../kernel/index.ts";

/** What is used of `pg`: a `pg.Pool` is one, and so is anything that behaves like it. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>;
}

export interface PostgresClient {
  query(statement: PostgresStatement): Promise<{ readonly rows: readonly PostgresRow[] }>;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "notification", listener: (message: { payload?: string | undefined }) => void): unknown;
  removeListener(event: "error", listener: (error: Error) => void): unknown;
  /** With an error or `true` the connection is closed, not given back. */
  release(destroy?: Error | boolean): void;
}

export interface PostgresStatement {
  /** Statements with a name are prepared once for each connection. */
  name?: string;
  text: string;
  values?: unknown[];
}

/** A statement that is prepared; its name is that of its text, so that stores with different schemas can share a pool. */
export function prepared(text: string): (values: unknown[]) => PostgresStatement {
  const name = `hf_${createHash("sha256").update(text).digest("hex").slice(0, 24)}`;
  return (values) => ({ name, text, values });
}

export type PostgresRow = Readonly<Record<string, unknown>>;

// Columns of a result, as what they must be: anything else was not written by us.

export function textIn(row: PostgresRow, column: string): string {
  const value = row[column];
  if (typeof value !== "string") throw unexpected(column, value);
  return value;
}

export function numberIn(row: PostgresRow, column: string): number {
  const value = row[column];
  if (typeof value !== "number") throw unexpected(column, value);
  return value;
}

export function booleanIn(row: PostgresRow, column: string): boolean {
  const value = row[column];
  if (typeof value !== "boolean") throw unexpected(column, value);
  return value;
}

export function listIn(row: PostgresRow, column: string): readonly unknown[] {
  const value: unknown = row[column];
  if (!Array.isArray(value)) throw unexpected(column, value);
  return value;
}

export function bytesIn(row: PostgresRow, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw unexpected(column, value);
  return value;
}

function unexpected(column: string, value: unknown): HoldfastError {
  return new HoldfastError("store-corrupt", "PostgreSQL answered with something Holdfast did not write.", {
    detail: { column, type: value === null ? "null" : typeof value },
  });
}
