import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Account, MemberOptions } from "../test/governance/member.ts";
import type { Connection } from "../test/governance/processes.ts";
import { Member } from "../test/governance/processes.ts";
import { startPostgres } from "../test/peers/postgres.ts";
import { startRedis } from "../test/peers/redis.ts";
import { median, printTable, quantile, rounded } from "./harness.ts";

interface Result {
  /** Milliseconds from asking one process to a client's socket closing, the last of each revocation. */
  readonly ms: number[];
  /** Connections that were open still when every receipt was final. */
  survivors: number;
  /** Receipts that did not say closed. */
  failed: number;
}

const MECHANISMS = ["web", "dialog", "transfer", "socks", "netbios"];

/**
 * One principal with a session of each of five mechanisms on each of three processes: from the revoke on one of them to
 * the last of the fifteen connections closed, as their clients see it.
 */
export default async function governance(
  options: { rounds?: number } = {},
): Promise<Record<string, unknown>> {
  const rounds = options.rounds ?? 30;
  const redisServer = await startRedis();
  const postgresServer = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const results: Record<string, Result> = {};
  try {
    const places = { redis: redisServer.url, postgres: postgresServer.url, lmdb: folder } as const;
    for (const kind of ["redis", "postgres", "lmdb"] as const)
      results[kind] = await measure(kind, places[kind], rounds);
  } finally {
    await redisServer.stop();
    await postgresServer.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  const all = Object.entries(results);
  printTable([
    ["store", "p50 ms", "p99 ms", "longest", "survivors", "not closed"],
    ...all.map(([kind, { ms, survivors, failed }]) => [
      kind,
      rounded(median(ms)),
      rounded(quantile(ms, 0.99)),
      rounded(Math.max(...ms)),
      survivors,
      failed,
    ]),
  ]);
  const figures: Record<string, unknown> = {
    p99_ms: Math.max(...all.map(([, { ms }]) => rounded(quantile(ms, 0.99)) ?? Number.NaN)),
    survivors: all.reduce((sum, [, { survivors }]) => sum + survivors, 0),
  };
  for (const [kind, { ms }] of all) {
    figures[`${kind}_p50_ms`] = rounded(median(ms));
    figures[`${kind}_p99_ms`] = rounded(quantile(ms, 0.99));
  }
  return figures;
}

async function measure(kind: MemberOptions["kind"], at: string, rounds: number): Promise<Result> {
  const options = { kind, at, leaseMs: 5_000, receiptMs: 5_000 };
  // The first alone: it makes what the others find.
  const members = [await Member.start({ ...options, node: "one" })];
  for (const node of ["two", "three"]) members.push(await Member.start({ ...options, node }));
  const result: Result = { ms: [], survivors: 0, failed: 0 };
  try {
    for (let round = 0; round < rounds; round++) {
      const principal = `person-${round}`;
      const connections: Connection[] = await Promise.all(
        members.flatMap((member) => MECHANISMS.map((mechanism) => member.open(principal, { mechanism }))),
      );
      const [first] = members;
      if (first === undefined) throw new Error("nobody to ask");
      const startedAt = performance.now();
      const closed = Promise.all(connections.map((one) => one.closed)).then(() => performance.now());
      const account = await first.ask<Account>({ do: "revoke", selector: { principal }, reason: "bench" });
      result.failed += account.receipts.filter(({ state }) => state !== "closed").length;
      result.failed += connections.length - account.receipts.length;
      // A receipt may come before the client has heard the connection close; what is open a second later survives.
      const last = await Promise.race([closed, later(1_000)]);
      if (last === undefined) result.survivors += connections.filter((one) => one.isOpen).length;
      else result.ms.push(last - startedAt);
      for (const connection of connections) connection.drop();
    }
  } finally {
    for (const member of members) await member.stop();
  }
  return result;
}

function later(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}
