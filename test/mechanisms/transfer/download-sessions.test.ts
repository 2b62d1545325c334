import { strict as assert } from "node:assert";
import { randomBytes } from "node:crypto";
import { request } from "node:http";
import type { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import type { SessionRecord } from "../../../src/kernel/index.ts";
import { chunk, createUpload, send, serve, tus } from "./served.ts";
import type { Served } from "./served.ts";

/** More than the sockets between two programs of one machine hold. */
const CONTENT = randomBytes(48 * 1024 * 1024);

async function live(served: Served): Promise<SessionRecord[]> {
  const found: SessionRecord[] = [];
  for await (const record of served.kernel.sessions({ mechanism: "transfer" })) found.push(record);
  return found;
}

async function eventually<T>(what: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    const found = await what();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it did not come about");
}

/** A GET whose reader reads nothing yet. */
function begin(url: string, headers: Record<string, string>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { headers, agent: false }, (response) => {
      response.pause();
      resolve(response);
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** What comes of it once it is read: that begins with `resume`. */
function outcome(response: IncomingMessage): Promise<{ bytes: number; whole: boolean }> {
  let bytes = 0;
  response.on("data", (data: Buffer) => (bytes += data.length));
  response.on("error", () => undefined);
  return new Promise((resolve) =>
    response.on("close", () => resolve({ bytes, whole: response.complete && bytes > 0 })),
  );
}

const ADA = { authorization: "ada" };

async function stored(): Promise<{ served: Served; url: string; login: SessionRecord }> {
  let login: SessionRecord | undefined;
  const served = await serve({
    policy: { openUploads: 1, commitBytes: 1 << 20 },
    authorize: ({ header }) => {
      const principal = header("authorization");
      return {
        allow: true,
        ...(principal !== undefined && { principal }),
        ...(login !== undefined && { parent: login.handle }),
      };
    },
  });
  const made = await served.kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "ada",
  });
  login = made.record;
  const url = await createUpload(served, CONTENT.length, {
    ...ADA,
    "Upload-Metadata": "filename ZmlsbS5tcDQ=",
  });
  assert.equal((await send("PATCH", url, chunk(0, ADA), CONTENT)).status, 204);
  return { served, url, login };
}

describe("a download is a session", () => {
  it("it is listed while it runs, moves, and ends when all is sent", async () => {
    const { served, url, login } = await stored();
    assert.deepEqual(await live(served), []);
    const response = await begin(url, { ...ADA, range: "bytes=1000-" });
    const [session] = await live(served);
    assert.equal(session?.principal, "ada");
    assert.equal(session?.label, "film.mp4");
    assert.equal(session?.parent, login.handle);
    assert.equal(session?.checkpoint?.total, CONTENT.length);
    const handle = session?.handle;
    assert.ok(handle !== undefined);
    const positions: number[] = [];
    served.kernel.onEntry((entry) => {
      if (entry.handle === handle && entry.event === "checkpoint")
        positions.push(Number(entry.detail?.["position"]));
    });
    // It takes no room that uploads are counted in.
    const other = await send("POST", served.url, tus({ ...ADA, "Upload-Length": "5" }));
    assert.equal(other.status, 201);
    const done = outcome(response);
    response.resume();
    assert.deepEqual(await done, { bytes: CONTENT.length - 1_000, whole: true });
    const ended = await eventually(async () => {
      const record = await served.kernel.lookUp(handle, { ended: true });
      return record?.ended === undefined ? undefined : record;
    });
    assert.equal(ended.ended?.reason, "finished");
    assert.equal(ended.checkpoint?.position, CONTENT.length);
    assert.ok(positions.length >= 2, positions.join(" "));
    assert.deepEqual(
      positions,
      [...positions].sort((a, b) => a - b),
    );
    await served.stop();
  });

  it("a revoke breaks it off, with a receipt, and the file stays", async () => {
    const { served, url } = await stored();
    const response = await begin(url, ADA);
    const done = outcome(response);
    assert.equal((await live(served)).length, 1);
    const revocation = await served.kernel.revoke({ mechanism: "transfer" }, { reason: "test", by: "test" });
    assert.deepEqual(
      (await revocation.settled).map((receipt) => receipt.state),
      ["closed"],
    );
    response.resume();
    const { bytes, whole } = await done;
    assert.ok(!whole && bytes < CONTENT.length, `${bytes} bytes came`);
    assert.deepEqual(await live(served), []);
    const again = await begin(url, ADA);
    const all = outcome(again);
    again.resume();
    assert.deepEqual(await all, { bytes: CONTENT.length, whole: true });
    await served.stop();
  });

  it("it ends with the login it belongs to, and with its reader", async () => {
    const { served, url, login } = await stored();
    const first = await begin(url, ADA);
    first.destroy();
    await eventually(async () => ((await live(served)).length === 0 ? true : undefined));
    const response = await begin(url, ADA);
    const done = outcome(response);
    await served.kernel.end(login, { reason: "logout" });
    await eventually(async () => ((await live(served)).length === 0 ? true : undefined));
    response.resume();
    assert.equal((await done).whole, false);
    await served.stop();
  });

  it("none is made for what carries no content, nor where the policy wants none", async () => {
    const { served, url } = await stored();
    const began: unknown[] = [];
    served.kernel.onEntry((entry) => {
      if (entry.event === "establish" && entry.mechanism === "transfer") began.push(entry);
    });
    assert.equal((await send("GET", url, { ...ADA, range: "bytes=999999999-" })).status, 416);
    const { etag = "" } = (await send("GET", url, { ...ADA, range: "bytes=0-0" })).headers;
    assert.equal(began.length, 1);
    assert.equal((await send("GET", url, { ...ADA, "if-none-match": etag })).status, 304);
    assert.equal(began.length, 1);
    await served.stop();
    const quiet = await serve({ policy: { downloadSessions: false } });
    const plain = await createUpload(quiet, 5);
    await send("PATCH", plain, chunk(0), Buffer.from("hello"));
    quiet.kernel.onEntry((entry) => {
      if (entry.event === "establish") began.push(entry);
    });
    assert.equal((await send("GET", plain)).text, "hello");
    assert.equal(began.length, 1);
    await quiet.stop();
  });
});
