import { createHash } from "node:crypto";
import { HoldfastError } from "../../kernel/index.ts";
import type { PostgresClient, PostgresRow } from "./client.ts";
import { numberIn } from "./client.ts";
import type { Database } from "./database.ts";
import { inTime } from "./database.ts";
import { governanceFunctions, MIGRATION_LOCK } from "./governance-functions.ts";
import type { Settings } from "./options.ts";
import { readFunctions } from "./read-functions.ts";
import { tables } from "./tables.ts";
import { writeFunctions } from "./write-functions.ts";

/** Each step of the schema's history, oldest first. What was released is never changed: a later step changes it. */
function steps(schema: string): readonly string[] {
  const S = `"${schema}"`;
  const lock = lockClass(schema);
  return [
    [
      tables(S),
      readFunctions(S),
      writeFunctions(S, lock),
      governanceFunctions(S, lock),
      `select ${S}.revive();`,
    ].join("\n"),
  ];
}

/**
 * Brings the schema up to what this release needs; any number of processes may do so at once.
 * @throws HoldfastError `store-unavailable`; `unsupported` when a newer release has been here, or when something is to be
 * done and `migrate` is false.
 */
export async function migrate(database: Database, settings: Settings): Promise<void> {
  const wanted = steps(settings.schema);
  const found = await versionOf(database, settings);
  assertKnown(found, wanted.length);
  if (found === wanted.length) return;
  if (!settings.migrate) {
    throw new HoldfastError(
      "unsupported",
      `The schema ${settings.schema} has version ${found} and needs ${wanted.length}; open the store once with migrate: true.`,
      { detail: { schema: settings.schema, found, needed: wanted.length } },
    );
  }
  const client = await database.connect(settings.timeoutMs);
  let failure: Error | undefined;
  const broken = (error: Error): void => {
    failure = error;
  };
  client.on("error", broken);
  try {
    // A server that hangs in the middle of it must not hold everybody up for ever.
    await inTime(inTransaction(client, settings, wanted), settings.slowTimeoutMs, settings.slowTimeoutMs);
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    throw new HoldfastError("store-unavailable", `The schema could not be set up: ${failure.message}`, {
      cause: error,
      detail: { schema: settings.schema },
    });
  } finally {
    client.removeListener("error", broken);
    // Closed rather than given back: what a pool's other users set is not to be met here, nor the other way round.
    client.release(failure ?? true);
  }
}

async function inTransaction(
  client: PostgresClient,
  settings: Settings,
  wanted: readonly string[],
): Promise<void> {
  const S = `"${settings.schema}"`;
  await client.query({ text: `begin; set local statement_timeout = ${settings.slowTimeoutMs}` });
  // Whoever comes second waits here, and finds nothing left to do.
  await client.query({
    text: `select pg_advisory_xact_lock(${lockClass(settings.schema)}, ${MIGRATION_LOCK})`,
  });
  const { rows } = await client.query({ text: PRESENT, values: [settings.schema] });
  // Asked before, for `if not exists` wants the right to create it also when it is there.
  if (rows.length === 0) await client.query({ text: `create schema ${S}` });
  await client.query({
    text: `create table if not exists ${S}.migration (version int primary key, applied_at timestamptz not null default now())`,
  });
  const applied = await client.query({
    text: `select coalesce(max(version), 0) as version from ${S}.migration`,
  });
  const from = versionIn(applied.rows);
  assertKnown(from, wanted.length);
  for (const [i, step] of wanted.entries()) {
    if (i < from) continue;
    await client.query({ text: step });
    await client.query({ text: `insert into ${S}.migration (version) values ($1)`, values: [i + 1] });
  }
  await client.query({ text: "commit" });
}

/** 0 when there is nothing of ours. */
async function versionOf(database: Database, settings: Settings): Promise<number> {
  const there = await database.run(
    {
      text: "select 1 as there where to_regclass($1) is not null",
      values: [`"${settings.schema}".migration`],
    },
    settings.timeoutMs,
  );
  if (there.length === 0) return 0;
  const rows = await database.run(
    { text: `select coalesce(max(version), 0) as version from "${settings.schema}".migration` },
    settings.timeoutMs,
  );
  return versionIn(rows);
}

function versionIn(rows: readonly PostgresRow[]): number {
  const [row] = rows;
  return row === undefined ? 0 : numberIn(row, "version");
}

function assertKnown(found: number, known: number): void {
  if (found <= known) return;
  throw new HoldfastError(
    "unsupported",
    `A newer release of Holdfast has changed the schema to version ${found}; this one knows ${known}.`,
    { detail: { found, known } },
  );
}

/** The first half of our advisory locks' names. */
function lockClass(schema: string): number {
  return createHash("sha256").update(`holdfast ${schema}`).digest().readInt32BE(0);
}

const PRESENT = "select 1 from pg_namespace where nspname = $1";
