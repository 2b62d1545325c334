import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { postgresBinaries, startPostgres } from "../../peers/postgres.ts";
import { redisMissing, startRedis } from "../../peers/redis.ts";
import { Jar } from "./servers.ts";

const post = { method: "POST" };
const inCi = process.env["CI"] === "true";

interface Shared {
  readonly address: string;
  readonly pid?: number;
  stop(): Promise<void>;
}

const stores: Readonly<Record<string, { missing: string | undefined; start(): Promise<Shared> }>> = {
  lmdb: {
    missing: undefined,
    async start() {
      const address = mkdtempSync(join(tmpdir(), "holdfast-web-"));
      return { address, stop: async () => rmSync(address, { recursive: true, force: true }) };
    },
  },
  redis: {
    missing: redisMissing(),
    async start() {
      const server = await startRedis();
      return { address: server.path, pid: server.pid, stop: () => server.stop() };
    },
  },
  postgres: {
    missing: postgresBinaries() === undefined ? "PostgreSQL is not installed" : undefined,
    async start() {
      const server = await startPostgres();
      return { address: server.url, stop: () => server.stop() };
    },
  },
};

async function startApp(kind: string, address: string): Promise<{ base: string; child: ChildProcess }> {
  const child = fork(fileURLToPath(new URL("./app-process.js", import.meta.url)), [kind, address]);
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  return { base: `http://127.0.0.1:${port}`, child };
}

/** The near cache of the other process learns of a change within milliseconds; what is asserted is that it does. */
async function eventually(base: string, jar: Jar, status: number): Promise<void> {
  const deadline = Date.now() + 10_000;
  while ((await jar.fetch(base)).status !== status) {
    assert.ok(Date.now() < deadline, `no ${status} from the other process`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

for (const [kind, store] of Object.entries(stores)) {
  const { missing } = store;
  test(`two processes on ${kind}: a login on one is good on the other, and a logout or revoke on one is a 401 on the other`, async (t) => {
    if (missing !== undefined && !inCi) {
      t.skip(missing);
      return;
    }
    const shared = await store.start();
    const [a, b] = [await startApp(kind, shared.address), await startApp(kind, shared.address)];
    try {
      const jar = new Jar();
      const other = new Jar();
      await jar.fetch(`${a.base}/login`, post);
      await other.fetch(`${b.base}/login`, post);
      await eventually(b.base, jar, 200);
      const thief = jar.copy();
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          jar.copy().fetch(`${i % 2 === 0 ? a.base : b.base}/count`, post),
        ),
      );
      assert.equal(
        await (await jar.copy().fetch(`${a.base}/count`, post)).text(),
        "21",
        "every update of both processes counts",
      );
      assert.equal(await (await jar.fetch(`${a.base}/end-others`, post)).text(), "1");
      await eventually(b.base, other, 401);
      await eventually(b.base, jar, 200);
      await jar.fetch(`${a.base}/logout`, post);
      await eventually(b.base, thief, 401);
      for (let i = 0; i < 20; i++)
        assert.equal((await thief.fetch(b.base)).status, 401, "once refused, always refused");
      assert.equal((await thief.fetch(`${b.base}/count`, post)).status, 200, "it counts for a new visitor");
      assert.notEqual(thief.session, "", "who got a session of their own, not the old one");
      assert.equal((await thief.fetch(b.base)).status, 401);
    } finally {
      a.child.disconnect();
      b.child.disconnect();
      await shared.stop();
    }
  });
}

test("a store that hangs is answered 503, not as a logout; when it is back, everybody is still signed in", async (t) => {
  const missing = redisMissing();
  if (missing !== undefined && !inCi) {
    t.skip(missing);
    return;
  }
  const shared = await startRedis();
  const site = await startApp("redis", shared.path);
  try {
    const jar = new Jar();
    const cold = new Jar();
    await jar.fetch(`${site.base}/login`, post);
    await cold.fetch(`${site.base}/login`, post);
    process.kill(shared.pid, "SIGSTOP");
    const slowest = { ms: 0 };
    for (let i = 0; i < 5; i++) {
      const began = performance.now();
      const response = await cold.fetch(`${site.base}/count`, post);
      slowest.ms = Math.max(slowest.ms, performance.now() - began);
      assert.equal(response.status, 503);
      assert.deepEqual(response.headers.getSetCookie(), []);
    }
    t.diagnostic(`slowest answer ${slowest.ms.toFixed(0)} ms`);
    process.kill(shared.pid, "SIGCONT");
    await eventually(site.base, jar, 200);
    await eventually(site.base, cold, 200);
  } finally {
    process.kill(shared.pid, "SIGCONT");
    site.child.disconnect();
    await shared.stop();
  }
});
