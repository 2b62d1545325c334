import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Redis } from "ioredis";

import { createKernel, isHoldfastError } from "../../../src/kernel/index.ts";
import type { Kernel } from "../../../src/kernel/index.ts";
import { nearCache } from "../../../src/store/near/index.ts";
import { redis } from "../../../src/store/redis/index.ts";
import { freePort, redisMissing, startRedis } from "../../peers/redis.ts";
import type { RedisServer } from "../../peers/redis.ts";

const NAME = "holdfast-test";
const HOST = "127.0.0.1";

describe("redis behind a sentinel", { skip: redisMissing() ?? false, timeout: 200_000 }, () => {
  let master: RedisServer;
  let replica: RedisServer;
  let sentinel: Sentinel;
  let kernel: Kernel;
  const faults: unknown[] = [];

  before(async () => {
    [master, replica] = await Promise.all([startRedis(), startRedis()]);
    await replica.client.replicaof(HOST, master.port);
    await until("the replica to follow", async () =>
      (await replica.client.info("replication")).includes("master_link_status:up"),
    );
    sentinel = await Sentinel.start(master.port);
    const store = redis({ sentinels: [{ host: HOST, port: sentinel.port }], name: NAME }, { timeoutMs: 500 });
    kernel = createKernel({
      store: nearCache(store),
      onFault: (error) => faults.push(error),
      policy: { leaseMs: 60_000 },
    });
    await kernel.start();
  });

  after(async () => {
    await kernel?.close().catch(() => undefined);
    await kernel?.store.close();
    await sentinel?.stop();
    await Promise.all([master, replica].map((server) => server?.stop()));
  });

  test("when the master dies its replica goes on: sessions, revocations and the feed with it; the old one is not written to", async () => {
    const alice = await login(kernel, "alice");
    const gone = await login(kernel, "mallory");
    await kernel.revoke({ principal: "mallory" }, { reason: "before the failover" });
    // WAIT counts from the last write of its own connection.
    await master.client.set("app:mark", "1");
    assert.equal(await master.client.wait(1, 10_000), 1, "the replica has it all");

    await master.kill();
    // While nobody can answer, nobody is told that he is logged out.
    await assert.rejects(
      async () => kernel.store.get(alice.handle, { fresh: true }),
      (error) => isHoldfastError(error, "store-unavailable"),
    );
    await until("the replica to be promoted", async () =>
      (await replica.client.info("replication")).includes("role:master"),
    );
    await until("a session to be established", async () => attempt(() => login(kernel, "bob")));
    assert.ok(await kernel.verify(alice.secret), "who was signed in still is");
    assert.equal(await kernel.verify(gone.secret), undefined, "who was revoked stays so");

    await until("the feed to be live", async () => kernel.feedLive);
    const heard: string[] = [];
    const stop = kernel.onEntry((entry) => void heard.push(`${entry.event} ${entry.principal ?? ""}`));
    await login(kernel, "carol");
    await until("the feed to tell of it", async () => heard.includes("establish carol"));
    stop();

    // The old master comes back with an older memory, or none: it must not be taken for the store.
    await master.start();
    await until("the old master to be a replica", async () =>
      (await master.client.info("replication")).includes("role:slave"),
    );
    const dora = await login(kernel, "dora");
    assert.ok(await kernel.verify(dora.secret));
    assert.ok(await kernel.verify(alice.secret));
    await kernel.revoke({ principal: "alice" }, { reason: "after the failover" });
    assert.equal(await kernel.verify(alice.secret), undefined);
    assert.ok(faults.length > 0, "and the operator was told of the trouble");
  });
});

async function login(
  kernel: Kernel,
  principal: string,
): Promise<{ secret: string; handle: Awaited<ReturnType<Kernel["establish"]>>["record"]["handle"] }> {
  const { record, secret } = await kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal,
  });
  if (secret === undefined) throw new Error("no secret");
  return { secret: secret.reveal(), handle: record.handle };
}

async function attempt(act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act();
    return true;
  } catch (error) {
    if (isHoldfastError(error, "store-unavailable")) return false;
    throw error;
  }
}

/** One sentinel that decides alone. */
class Sentinel {
  readonly port: number;
  readonly #folder: string;
  readonly #child: ChildProcess;

  static async start(master: number): Promise<Sentinel> {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-sentinel-"));
    const port = await freePort();
    writeFileSync(
      join(folder, "sentinel.conf"),
      [
        `port ${port}`,
        `bind ${HOST}`,
        `dir ${folder}`,
        `sentinel monitor ${NAME} ${HOST} ${master} 1`,
        `sentinel down-after-milliseconds ${NAME} 1000`,
        `sentinel failover-timeout ${NAME} 5000`,
        "",
      ].join("\n"),
    );
    const child = spawn("redis-server", [join(folder, "sentinel.conf"), "--sentinel"], { stdio: "ignore" });
    process.on("exit", () => child.kill("SIGKILL"));
    const sentinel = new Sentinel(port, folder, child);
    const client = new Redis(port, HOST, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    client.on("error", () => undefined);
    try {
      await until("the sentinel to know the replica", async () => {
        const replicas = (await client.call("SENTINEL", "REPLICAS", NAME)) as unknown[];
        const pid = /^process_id:(\d+)/m.exec(await client.info("server"))?.[1];
        if (Number(pid) !== child.pid) throw new Error(`port ${port} is answered by another process`);
        return replicas.length === 1;
      });
    } finally {
      client.disconnect();
    }
    return sentinel;
  }

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#child = child;
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function until(what: string, probe: () => Promise<boolean>): Promise<void> {
  const giveUp = Date.now() + 60_000;
  while (!(await probe())) {
    if (Date.now() > giveUp) throw new Error(`waited a minute for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
