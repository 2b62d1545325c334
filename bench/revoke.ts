import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startPostgres } from "../test/peers/postgres.ts";
import { startRedis } from "../test/peers/redis.ts";
import { median, printTable, quantile, rounded } from "./harness.ts";
import type { Order } from "./revoke/node.ts";

interface Result {
  /** Milliseconds from the call on one node to the first refusal on the other, which keeps asking. */
  readonly ms: number[];
  /** Sessions that the other node still took when it was asked after the call had returned. */
  missed: number;
}

/** Revoking on one process, refused on the other: over each store that processes can share, its near cache in front. */
export default async function revoke(options: { rounds?: number } = {}): Promise<Record<string, unknown>> {
  const trials = (options.rounds ?? 10) * 30;
  const redisServer = await startRedis();
  const postgresServer = await startPostgres();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
  const results: Record<string, Result> = {};
  try {
    const stores = { redis: redisServer.path, postgres: postgresServer.url, lmdb: folder };
    for (const [kind, address] of Object.entries(stores)) results[kind] = await race(kind, address, trials);
  } finally {
    await redisServer.stop();
    await postgresServer.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  printTable([
    ["store", "p50 ms", "p99 ms", "longest", "missed"],
    ...Object.entries(results).map(([kind, { ms, missed }]) => [
      kind,
      rounded(median(ms)),
      rounded(quantile(ms, 0.99)),
      rounded(Math.max(...ms)),
      missed,
    ]),
  ]);
  const of = (kind: string): Result => results[kind] as Result;
  return {
    p99_ms: rounded(quantile(of("redis").ms, 0.99)),
    missed: Object.values(results).reduce((sum, result) => sum + result.missed, 0),
    p50_ms: rounded(median(of("redis").ms)),
    postgres_p99_ms: rounded(quantile(of("postgres").ms, 0.99)),
    lmdb_p99_ms: rounded(quantile(of("lmdb").ms, 0.99)),
  };
}

async function race(kind: string, address: string, trials: number): Promise<Result> {
  const here = await Node.start(kind, address);
  const there = await Node.start(kind, address);
  const result: Result = { ms: [], missed: 0 };
  try {
    for (let trial = 0; trial < trials; trial++) {
      const principal = `user-${trial}`;
      const { secret } = await here.ask<{ secret: string }>({ do: "login", principal });
      if (!(await there.ask<{ good: boolean }>({ do: "check", secret })).good)
        throw new Error("not signed in to begin with");
      if (trial % 2 === 0) {
        const refused = there.watch(secret);
        await refused.begun;
        const { at } = await here.ask<{ at: string }>({ do: "revoke", principal });
        const { refusedAt } = await refused.ended;
        if (refusedAt === null) result.missed++;
        else result.ms.push(Number(BigInt(refusedAt) - BigInt(at)) / 1e6);
      } else {
        await here.ask({ do: "revoke", principal });
        if ((await there.ask<{ good: boolean }>({ do: "check", secret })).good) result.missed++;
      }
    }
  } finally {
    here.stop();
    there.stop();
  }
  return result;
}

class Node {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(kind: string, address: string): Promise<Node> {
    const child = fork(fileURLToPath(new URL("./revoke/node.js", import.meta.url)), [kind, address]);
    await once(child, "message");
    return new Node(child);
  }

  async ask<Answer>(order: Order): Promise<Answer> {
    this.#child.send(order);
    const [answer] = (await once(this.#child, "message")) as [Answer];
    return answer;
  }

  watch(secret: string): { begun: Promise<unknown>; ended: Promise<{ refusedAt: string | null }> } {
    const begun = once(this.#child, "message");
    this.#child.send({ do: "watch", secret });
    const ended = begun
      .then(() => once(this.#child, "message"))
      .then(([answer]) => answer as { refusedAt: string | null });
    return { begun, ended };
  }

  stop(): void {
    this.#child.disconnect();
  }
}
