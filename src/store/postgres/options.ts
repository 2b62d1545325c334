import type { Clock } from "../../kernel/index.ts";
import { HoldfastError, systemClock } from "../../kernel/index.ts";
import type { PostgresPool } from "./client.ts";

/** Where PostgreSQL is: the connection options of `pg`, without those of its pool. */
export interface PostgresConnection {
  readonly connectionString?: string;
  readonly host?: string;
  readonly port?: number;
  readonly user?: string;
  readonly password?: string | (() => string | Promise<string>);
  readonly database?: string;
  /** As `tls.connect` takes them; `true`: with the system's certificates. */
  readonly ssl?: boolean | { readonly [option: string]: unknown };
  /** Shown in `pg_stat_activity`; `holdfast` unless given. */
  readonly application_name?: string;
}

export interface PostgresOptions {
  /** The schema everything is kept in: small letters, digits and `_`; `holdfast` unless given. */
  readonly schema?: string;
  /** For ages and expiry. Time limits towards PostgreSQL are real time. */
  readonly clock?: Clock;
  /** How long an operation may take before it is given up as `store-unavailable`; 250 unless given. */
  readonly timeoutMs?: number;
  /** The same for what reads many rows, `list`, `due`, `timeline` and `stats`, and for setting up the schema; 10,000. */
  readonly slowTimeoutMs?: number;
  /** Connections at most, when the pool is ours: 2 or more, 10 unless given. Whoever follows the feed holds one. */
  readonly connections?: number;
  /** Operations in one statement at most; 500 unless given. */
  readonly maxBatch?: number;
  /** `unflushed` (the default): a `visible` write is acknowledged before PostgreSQL has it on disk; `flushed`: after. */
  readonly visible?: "unflushed" | "flushed";
  /** How long a follower waits for a notification before it looks for itself; 200 unless given. */
  readonly pollMs?: number;
  /** Journal entries kept for followers: at most about so many (1,000,000), and none older than this (24 hours). */
  readonly journalLimit?: number;
  readonly journalMs?: number;
  /** False: never change the schema; refuse to work when it is not the one this release needs. */
  readonly migrate?: boolean;
}

export interface Settings {
  readonly schema: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly slowTimeoutMs: number;
  readonly connections: number;
  readonly maxBatch: number;
  readonly flushVisible: boolean;
  readonly pollMs: number;
  readonly journalLimit: number;
  readonly journalMs: number;
  readonly migrate: boolean;
}

/** @throws HoldfastError `invalid-argument`, naming the option. */
export function settingsFrom(options: PostgresOptions): Settings {
  const schema = options.schema ?? "holdfast";
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema) || schema.startsWith("pg_")) {
    throw new HoldfastError(
      "invalid-argument",
      "A schema is named with small letters, digits and _, and not pg_….",
      { detail: { schema } },
    );
  }
  return {
    schema,
    clock: options.clock ?? systemClock,
    timeoutMs: atLeastOne("timeoutMs", options.timeoutMs ?? 250),
    slowTimeoutMs: atLeastOne("slowTimeoutMs", options.slowTimeoutMs ?? 10_000),
    connections: atLeast(2, "connections", options.connections ?? 10),
    maxBatch: atLeastOne("maxBatch", options.maxBatch ?? 500),
    flushVisible: options.visible === "flushed",
    pollMs: atLeastOne("pollMs", options.pollMs ?? 200),
    journalLimit: atLeastOne("journalLimit", options.journalLimit ?? 1_000_000),
    journalMs: atLeastOne("journalMs", options.journalMs ?? 86_400_000),
    migrate: options.migrate ?? true,
  };
}

export function isPool(target: PostgresConnection | PostgresPool): target is PostgresPool {
  return "connect" in target && typeof target.connect === "function";
}

function atLeastOne(name: string, value: number): number {
  return atLeast(1, name, value);
}

function atLeast(least: number, name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new HoldfastError("invalid-argument", `${name} is a whole number, at least ${least}.`, {
      detail: { [name]: value },
    });
  }
  return value;
}
