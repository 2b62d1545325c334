import { strict as assert } from "node:assert";
import { readFile, readdir, truncate, writeFile } from "node:fs/promises";
import { request } from "node:http";
import type { ClientRequest } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { VirtualClock, createKernel } from "../../../src/kernel/index.ts";
import type { SessionRecord } from "../../../src/kernel/index.ts";
import type { FinishedFile } from "../../../src/mechanisms/transfer/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { chunk, createUpload, send, serve, tus } from "./served.ts";
import type { Served } from "./served.ts";

describe("an upload is a session", () => {
  it("it is listed with its name, and its checkpoint moves with what is durable", async () => {
    const served = await serve();
    const url = await createUpload(served, 10, {
      "Upload-Metadata": `filename ${Buffer.from("../../etc/report.pdf").toString("base64")}`,
    });
    const fresh = await only(served);
    assert.equal(fresh.mechanism, "transfer");
    assert.equal(fresh.mode, "simplex");
    assert.equal(fresh.label, "report.pdf");
    assert.deepEqual([fresh.checkpoint?.position, fresh.checkpoint?.total], [0, 10]);
    await send("PATCH", url, chunk(0), "abcd");
    assert.equal((await only(served)).checkpoint?.position, 4);
    await send("PATCH", url, chunk(4), "efghij");
    assert.deepEqual(await live(served), []);
    const ended = await served.kernel.lookUp(fresh.handle, { ended: true });
    assert.equal(ended?.ended?.reason, "finished");
    assert.equal(ended?.checkpoint?.position, 10);
    const events = (await served.kernel.store.timeline(fresh.handle)).map((entry) => entry.event);
    assert.deepEqual(events, ["establish", "checkpoint", "checkpoint", "end"]);
    await served.stop();
  });

  it("between requests it is suspended after a while, and the next request resumes it", async () => {
    const served = await serve({ policy: { lingerMs: 1 } });
    const url = await createUpload(served, 10);
    await eventually(async () => (await only(served)).state === "suspended");
    assert.equal((await send("PATCH", url, chunk(0), "abcd")).status, 204);
    const record = await only(served);
    assert.equal(record.checkpoint?.position, 4);
    assert.ok((record.owner?.epoch ?? 0) >= 2);
    await served.stop();
  });

  it("revoking it kills the request in flight, with a receipt, and it is gone for good", async () => {
    const served = await serve();
    const url = await createUpload(served, 1_000_000);
    const hung = await hang(url, chunk(0), Buffer.alloc(300_000));
    await eventually(() => Promise.resolve(served.kernel.liveCount === 1));
    const revocation = await served.kernel.revoke({ mechanism: "transfer" }, { reason: "test" });
    assert.deepEqual(
      (await revocation.settled).map((receipt) => receipt.state),
      ["closed"],
    );
    await hung.closed;
    assert.equal((await send("HEAD", url, tus())).status, 410);
    await eventually(async () => (await served.storage.list()).length === 0);
    assert.equal((await send("PATCH", url, chunk(300_000), "x")).status, 410);
    await served.stop();
  });

  it("it ends with the login it was made under", async () => {
    const kernel = createKernel({ store: memory() });
    const login = await kernel.establish({ mechanism: "web", mode: "request-response", principal: "alice" });
    const served = await serve({
      kernel,
      authorize: () => ({ allow: true, principal: "alice", parent: login.record.handle }),
    });
    const url = await createUpload(served, 10);
    await send("PATCH", url, chunk(0), "abc");
    await kernel.end(login.record, { reason: "logout" });
    assert.equal((await send("PATCH", url, chunk(3), "d")).status, 410);
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "1" }))).status, 403);
    await served.stop();
    await kernel.close();
  });

  it("a lock refuses new uploads and ends those there are", async () => {
    const served = await serve();
    const url = await createUpload(served, 10);
    const { barrier } = await served.kernel.lock({
      selector: { mechanism: "transfer" },
      reason: "maintenance",
      by: "test",
    });
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "1" }))).status, 423);
    assert.equal((await send("HEAD", url, tus())).status, 410);
    await served.kernel.unlock(barrier.id);
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "1" }))).status, 201);
    await served.stop();
  });
});

describe("who may", () => {
  it("is asked at creation and again at completion; what is refused then is not kept", async () => {
    const asked: string[] = [];
    let allowed = true;
    const files: FinishedFile[] = [];
    const served = await serve({
      onFinish: (file) => void files.push(file),
      authorize: (question) => {
        asked.push(question.action);
        if (question.header("authorization") !== "Bearer alice")
          return { allow: false, status: 401, why: "no token" };
        return question.action === "complete" && !allowed
          ? { allow: false, status: 403, why: "over quota by now" }
          : { allow: true, principal: "alice" };
      },
    });
    const who = { Authorization: "Bearer alice" };
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "3" }))).status, 401);
    const url = await createUpload(served, 3, who);
    allowed = false;
    const refused = await send("PATCH", url, chunk(0, who), "abc");
    assert.equal(refused.status, 403);
    assert.match(refused.text, /over quota by now/);
    assert.equal(files.length, 0);
    assert.equal((await send("HEAD", url, tus(who))).status, 410);
    allowed = true;
    const other = await createUpload(served, 3, who);
    assert.equal((await send("PATCH", other, chunk(0, who), "abc")).status, 204);
    assert.deepEqual(
      files.map((file) => file.principal),
      ["alice"],
    );
    assert.deepEqual(asked, ["create", "create", "append", "complete", "create", "append", "complete"]);
    await served.stop();
  });

  it("another principal's upload looks as if it were not there", async () => {
    const served = await serve({
      authorize: ({ header }) => ({ allow: true, principal: header("x-user") ?? "nobody" }),
    });
    const url = await createUpload(served, 3, { "X-User": "alice" });
    for (const method of ["HEAD", "PATCH", "DELETE", "GET"]) {
      assert.equal(
        (await send(method, url, chunk(0, { "X-User": "mallory" }), method === "PATCH" ? "abc" : undefined))
          .status,
        404,
        method,
      );
    }
    assert.equal((await send("PATCH", url, chunk(0, { "X-User": "alice" }), "abc")).status, 204);
    assert.equal((await send("GET", url, { "X-User": "mallory" })).status, 404);
    await served.stop();
  });

  it("a principal's open uploads and reserved bytes are limited; finishing one makes room", async () => {
    const served = await serve({
      policy: { openUploads: 2, reservedBytes: 100 },
      authorize: () => ({ allow: true, principal: "alice" }),
    });
    const first = await createUpload(served, 3);
    await createUpload(served, 60);
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "1" }))).status, 429);
    await send("PATCH", first, chunk(0), "abc");
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "41" }))).status, 429);
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "40" }))).status, 201);
    await served.stop();
  });

  it("when the disk is nearly full nothing is begun or continued", async () => {
    const served = await serve({ policy: { watermarkBytes: Number.MAX_SAFE_INTEGER } });
    assert.equal((await send("POST", served.url, tus({ "Upload-Length": "1" }))).status, 507);
    await served.stop();
  });
});

describe("the finished file", () => {
  it("can be answered for by the application", async () => {
    const served = await serve({
      onFinish: async (file) => {
        const chunks: Uint8Array[] = [];
        for await (const bytes of file.read()) chunks.push(bytes);
        assert.equal((await readFile(file.path ?? "")).toString(), "abc");
        return {
          status: 200,
          headers: { "X-File": file.id },
          text: Buffer.concat(chunks).toString().toUpperCase(),
        };
      },
    });
    const url = await createUpload(served, 3);
    const got = await send("PATCH", url, chunk(0), "abc");
    assert.equal(got.status, 200);
    assert.equal(got.text, "ABC");
    assert.equal(got.headers["upload-offset"], "3");
    await served.stop();
  });

  it("is handed over again when the application failed on it", async () => {
    let calls = 0;
    const served = await serve({
      onFinish: () => {
        calls += 1;
        if (calls === 1) throw new Error("the database was away");
      },
    });
    const url = await createUpload(served, 3);
    assert.equal((await send("PATCH", url, chunk(0), "abc")).status, 500);
    assert.match(String(served.faults[0]), /the database was away/);
    const head = await send("HEAD", url, tus());
    assert.equal(head.headers["upload-offset"], "3");
    assert.equal(calls, 2);
    await send("HEAD", url, tus());
    assert.equal(calls, 2);
    await served.stop();
  });
});

describe("one writer at a time, the newest", () => {
  it("a request that hangs is ended by its successor, and what it brought is kept", async () => {
    const served = await serve();
    const url = await createUpload(served, 1_000_000);
    const hung = await hang(url, chunk(0), Buffer.alloc(400_000, 1));
    await eventually(() => Promise.resolve(served.kernel.liveCount === 1));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const head = await send("HEAD", url, tus());
    assert.equal(head.headers["upload-offset"], "400000");
    await hung.closed;
    const rest = await send("PATCH", url, chunk(400_000), Buffer.alloc(600_000, 2));
    assert.equal(rest.headers["upload-offset"], "1000000");
    const got = await send("GET", url);
    assert.deepEqual(got.body, Buffer.concat([Buffer.alloc(400_000, 1), Buffer.alloc(600_000, 2)]));
    await served.stop();
  });

  it("all bytes are a whole file, also when the request that brought the last one never ended", async () => {
    const files: FinishedFile[] = [];
    const served = await serve({ policy: { movingMs: 0 }, onFinish: (file) => void files.push(file) });
    const url = await createUpload(served, 100_000);
    const hung = await hang(url, chunk(0), Buffer.alloc(100_000, 3));
    // With movingMs 0 a look takes the upload over at once, so its bytes must have had the time to arrive.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await eventually(async () => (await send("HEAD", url, tus())).headers["upload-offset"] === "100000");
    await hung.closed;
    assert.equal(files.length, 1);
    assert.deepEqual((await send("GET", url)).body, Buffer.alloc(100_000, 3));
    const other = await createUpload(served, 100_000);
    const gone = await hang(other, chunk(0), Buffer.alloc(100_000, 4));
    await eventually(() => Promise.resolve(served.kernel.liveCount === 1));
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    gone.outgoing.destroy();
    await eventually(async () => (await send("HEAD", other, tus())).headers["upload-offset"] === "100000");
    await eventually(() => Promise.resolve(files.length === 2));
    await served.stop();
  });

  it("looking at an upload that is moving does not stop it", async () => {
    const served = await serve({ policy: { commitBytes: 1_000, movingMs: 60_000 } });
    const url = await createUpload(served, 200_000);
    const moving = await hang(url, chunk(0), Buffer.alloc(20_000));
    for (let turn = 0; turn < 8; turn += 1) {
      moving.outgoing.write(Buffer.alloc(20_000));
      await new Promise((resolve) => setTimeout(resolve, 5));
      assert.equal((await send("HEAD", url, tus())).status, 200);
    }
    moving.outgoing.end(Buffer.alloc(20_000));
    assert.equal(await moving.status, 204);
    await served.stop();
  });

  it("of clients that race with the same offset exactly one is taken, and no bytes are mixed", async () => {
    const served = await serve();
    for (let round = 0; round < 5; round += 1) {
      const url = await createUpload(served, 500_000);
      const racers = Array.from({ length: 4 }, (_, index) =>
        send("PATCH", url, chunk(0), Buffer.alloc(500_000, index + 1)).catch(() => undefined),
      );
      const answers = await Promise.all(racers);
      const won = answers.flatMap((answer, index) => (answer?.status === 204 ? [index + 1] : []));
      assert.ok(won.length <= 1, `${won.length} were told that all of theirs was taken`);
      // As a client would: what was taken in the race may still be on its way to the disk.
      for (let offset = 0; offset < 500_000;) {
        offset = Number((await send("HEAD", url, tus())).headers["upload-offset"]);
        if (offset < 500_000) await send("PATCH", url, chunk(offset), Buffer.alloc(500_000 - offset, 9));
      }
      const { body } = await send("GET", url);
      assert.equal(body.length, 500_000);
      if (won[0] !== undefined) assert.deepEqual(body, Buffer.alloc(500_000, won[0]));
    }
    await served.stop();
  });

  it("two processes with one store and one disk: the second takes over, the first is shut out", async () => {
    const store = memory();
    const kernels = [createKernel({ store, node: "one" }), createKernel({ store, node: "two" })];
    const [one, two] = kernels;
    assert.ok(one !== undefined && two !== undefined);
    const first = await serve({ kernel: one });
    const second = await serve({ kernel: two, directory: first.directory });
    const url = await createUpload(first, 1_000_000);
    const there = url.replace(first.origin, second.origin);
    const hung = await hang(url, chunk(0), Buffer.alloc(300_000, 1));
    await eventually(() => Promise.resolve(one.liveCount === 1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const offset = Number((await send("HEAD", there, tus())).headers["upload-offset"]);
    assert.ok(offset <= 300_000);
    await hung.closed;
    const rest = await send("PATCH", there, chunk(offset), Buffer.alloc(1_000_000 - offset, 2));
    assert.equal(rest.status, 204, rest.text);
    const whole = Buffer.concat([Buffer.alloc(offset, 1), Buffer.alloc(1_000_000 - offset, 2)]);
    assert.deepEqual((await send("GET", url)).body, whole);
    assert.deepEqual((await send("GET", there)).body, whole);
    await second.stop({ keep: true });
    await first.stop();
    for (const kernel of kernels) await kernel.close();
  });
});

describe("an upload that waits", () => {
  it("goes on in another process, many times, without sending a byte twice", async () => {
    let served = await serve();
    const content = Buffer.from(
      Array.from({ length: 60_000 }, (_, index) => (index * 13 + (index >> 8)) & 0xff),
    );
    let path = new URL(await createUpload(served, content.length)).pathname;
    for (let at = 0; at < content.length; at += 10_000) {
      const url = served.origin + path;
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], String(at));
      assert.equal((await send("PATCH", url, chunk(at), content.subarray(at, at + 10_000))).status, 204);
      const { directory } = served;
      await served.stop({ keep: true });
      served = await serve({ directory });
    }
    assert.deepEqual((await send("GET", served.origin + path)).body, content);
    path = new URL(await createUpload(served, 5)).pathname;
    await served.stop();
  });

  it("expires when nothing comes for long enough, and says so; what is complete never does", async () => {
    const clock = new VirtualClock(Date.now());
    const kernel = createKernel({ store: memory(), clock });
    const served = await serve({
      kernel,
      policy: {
        expiresMs: 60_000,
        maxAgeMs: 150_000,
        idleProgressMs: 10 ** 9,
        graceMs: 1_000,
        forgetMs: 500_000,
      },
    });
    const [idle, active, done] = [
      await createUpload(served, 10),
      await createUpload(served, 10),
      await createUpload(served, 3),
    ];
    await send("PATCH", done, chunk(0), "abc");
    const expires = (await send("HEAD", idle, tus())).headers["upload-expires"];
    assert.equal(Date.parse(String(expires)), Math.floor((clock.now() + 60_000) / 1_000) * 1_000);
    // Let the sessions be suspended at their own time, before the clock jumps.
    clock.advance(2_500);
    await eventually(async () => (await live(served)).every((one) => one.state === "suspended"));
    clock.advance(50_000);
    assert.equal((await send("PATCH", active, chunk(0), "a")).status, 204);
    clock.advance(20_000);
    await kernel.sweep();
    assert.equal((await send("HEAD", idle, tus())).status, 410);
    assert.equal(
      (await send("HEAD", active, tus())).headers["upload-offset"],
      "1",
      "an append put the end off",
    );
    await eventually(async () => (await served.storage.list()).length === 2);
    clock.advance(30_000);
    assert.equal((await send("PATCH", active, chunk(1), "b")).status, 204);
    clock.advance(55_000);
    await kernel.sweep();
    assert.equal((await send("HEAD", active, tus())).status, 410, "the absolute limit cannot be put off");
    clock.advance(10_000_000);
    await kernel.sweep();
    await served.transfers.sweep();
    await served.transfers.sweep();
    assert.equal((await send("GET", done)).text, "abc");
    assert.equal((await send("HEAD", idle, tus())).status, 404, "its note has been forgotten");
    await served.stop();
    await kernel.close();
  });

  it("is found by a sweep when it expired while no process was running", async () => {
    const clock = new VirtualClock(Date.now());
    const kernels = [createKernel({ store: memory(), clock }), createKernel({ store: memory(), clock })];
    const [before, afterwards] = kernels;
    assert.ok(before !== undefined && afterwards !== undefined);
    const policy = { expiresMs: 40_000, graceMs: 1_000 };
    const first = await serve({ kernel: before, policy });
    await createUpload(first, 10);
    const done = await createUpload(first, 0);
    await first.stop({ keep: true });
    const second = await serve({ kernel: afterwards, policy, directory: first.directory });
    assert.deepEqual(await second.transfers.sweep(), { removed: 0, freed: 0, forgotten: 0 });
    clock.advance(41_000);
    assert.equal((await second.transfers.sweep()).removed, 1);
    clock.advance(2_000);
    assert.equal((await second.transfers.sweep()).freed, 1);
    assert.equal((await send("HEAD", done.replace(first.origin, second.origin), tus())).status, 200);
    await second.stop();
    for (const kernel of kernels) await kernel.close();
  });

  it("is closed when its bytes or its records have been damaged, and never lowers its offset", async () => {
    const served = await serve();
    const damage: readonly ((files: { data: string; log: string }) => Promise<void>)[] = [
      ({ data }) => truncate(data, 50),
      async ({ log }) => {
        const bytes = await readFile(log);
        const at = endOfRecords(bytes) - 200;
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        await writeFile(log, bytes);
      },
      // The record of the last acknowledgement cut off cleanly: only the session remembers it.
      async ({ log }) => truncate(log, endOfRecords(await readFile(log)) - 256),
    ];
    for (const harm of damage) {
      const url = await createUpload(served, 1_000);
      await send("PATCH", url, chunk(0), Buffer.alloc(100));
      const { directory, storage } = served;
      const [id] = await storage.list();
      assert.ok(id !== undefined);
      await harm({ data: join(directory, `${id}.1.data`), log: join(directory, `${id}.1.log`) });
      // Another process, with the same sessions.
      const again = await serve({ kernel: served.kernel, directory });
      const got = await send("HEAD", url.replace(served.origin, again.origin), tus());
      assert.equal(got.status, 410);
      assert.equal(got.headers["upload-offset"], undefined);
      await again.stop({ keep: true });
    }
    await served.stop();
  });

  it("a flipped bit anywhere is refused before the file is handed over", async () => {
    const files: FinishedFile[] = [];
    for (let round = 0; round < 8; round += 1) {
      const first = await serve();
      const url = await createUpload(first, 100_000);
      await send("PATCH", url, chunk(0), Buffer.alloc(60_000, 5));
      await first.stop({ keep: true });
      const name = (await readdir(first.directory)).find((one) => one.endsWith(".data"));
      const bytes = await readFile(join(first.directory, name ?? ""));
      bytes[round * 7_919] = (bytes[round * 7_919] ?? 0) ^ (1 << round);
      await writeFile(join(first.directory, name ?? ""), bytes);
      const second = await serve({ directory: first.directory, onFinish: (file) => void files.push(file) });
      const there = url.replace(first.origin, second.origin);
      if (round % 2 === 0)
        assert.equal((await send("HEAD", there, tus({ "Want-Repr-Digest": "sha-256=1" }))).status, 410);
      else assert.equal((await send("PATCH", there, chunk(60_000), Buffer.alloc(40_000))).status, 410);
      assert.equal((await send("HEAD", there, tus())).status, 410);
      await second.stop();
    }
    assert.equal(files.length, 0);
  });
});

describe("a client that is slow", () => {
  it("may take as long as it moves, and is ended when it does not, with what it brought kept", async () => {
    const served = await serve({ policy: { idleProgressMs: 200 } });
    assert.equal(served.server.requestTimeout, 0);
    const url = await createUpload(served, 10);
    const slow = await hang(url, chunk(0), Buffer.from("a"));
    for (let turn = 0; turn < 8; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      slow.outgoing.write("b");
    }
    assert.equal(await slow.status, 408);
    assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "9");
    await served.stop();
  });

  it("is ended when it creeps below the least rate", async () => {
    const served = await serve({ policy: { idleProgressMs: 100, minBytesPerSecond: 100_000 } });
    const url = await createUpload(served, 1_000_000);
    const slow = await hang(url, chunk(0), Buffer.from("a"));
    const drip = setInterval(() => slow.outgoing.write("b"), 10);
    try {
      assert.equal(await slow.status, 408);
    } finally {
      clearInterval(drip);
    }
    await served.stop();
  });
});

async function live(served: Served): Promise<readonly SessionRecord[]> {
  return (await served.kernel.store.list({ term: "m:transfer", limit: 100 })).found.map((one) => one.record);
}

async function only(served: Served): Promise<SessionRecord> {
  const [record, ...more] = await live(served);
  assert.ok(record !== undefined && more.length === 0);
  return record;
}

/** Begins a request and leaves it open after `first`. */
async function hang(
  url: string,
  headers: Record<string, string>,
  first: Buffer,
): Promise<{ outgoing: ClientRequest; closed: Promise<void>; status: Promise<number> }> {
  const outgoing = request(url, {
    method: "PATCH",
    headers: { ...headers, "Transfer-Encoding": "chunked" },
    agent: false,
  });
  const closed = new Promise<void>((resolve) => outgoing.on("close", () => resolve()));
  const status = new Promise<number>((resolve, reject) => {
    outgoing.on("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    outgoing.on("close", () => reject(new Error("closed without a response")));
  });
  status.catch(() => undefined);
  outgoing.on("error", () => undefined);
  await new Promise<void>((resolve) => outgoing.write(first, () => resolve()));
  return { outgoing, closed, status };
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 400; turn += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not come about within ten seconds");
}

/** Behind the last record of a log there are zeros, kept as room for the next. */
function endOfRecords(log: Buffer): number {
  let end = log.length;
  while (log.subarray(end - 256, end).every((byte) => byte === 0)) end -= 256;
  return end;
}
