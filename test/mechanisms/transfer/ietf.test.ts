import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { connect } from "node:http2";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import type { FinishedFile } from "../../../src/mechanisms/transfer/index.ts";
import { located, send, serve } from "./served.ts";
import type { Got, Served } from "./served.ts";

const TYPE = "https://iana.org/assignments/http-problem-types#";

for (const version of [3, 4, 5, 6, 7, 8]) {
  describe(`resumable uploads for HTTP, interop version ${version}`, () => {
    let served: Served;
    const finished: FinishedFile[] = [];
    before(async () => {
      served = await serve({
        policy: { maxBytes: 1_000_000, expiresMs: 3_600_000 },
        onFinish: (file) => void finished.push(file),
      });
    });
    after(async () => {
      assert.deepEqual(served.faults, []);
      await served.stop();
    });

    const marked = (headers: Record<string, string> = {}) => ({
      "Upload-Draft-Interop-Version": String(version),
      ...headers,
    });
    const complete = (value: boolean): Record<string, string> =>
      version === 3
        ? { "Upload-Incomplete": value ? "?0" : "?1" }
        : { "Upload-Complete": value ? "?1" : "?0" };
    const isComplete = (got: Got): boolean =>
      version === 3 ? got.headers["upload-incomplete"] === "?0" : got.headers["upload-complete"] === "?1";
    const append = (offset: number, last: boolean, more: Record<string, string> = {}) =>
      marked({
        "Upload-Offset": String(offset),
        ...complete(last),
        ...(version >= 6 && { "Content-Type": "application/partial-upload" }),
        ...more,
      });
    const create = (last: boolean, body: string, more: Record<string, string> = {}) =>
      send("POST", served.url, marked({ ...complete(last), ...more }), body);

    it("a plain upload becomes resumable: 104 with its URL, then the response", async () => {
      const got = await create(true, "hello", {
        "Content-Disposition": 'inline; filename="a.txt"',
        "Content-Type": "text/plain",
      });
      assert.equal(got.status, 200);
      assert.ok(isComplete(got));
      const [first] = got.interim;
      assert.equal(first?.status, 104);
      assert.equal(first.headers.location, got.headers.location);
      assert.equal(finished.at(-1)?.name, "a.txt");
      assert.equal(finished.at(-1)?.type, "text/plain");
      if (version >= 6) assert.match(String(first.headers["upload-limit"]), /max-size=1000000/);
      assert.equal((await send("GET", located(served, got))).text, "hello");
    });

    it("in parts: created incomplete, appended, inspected, completed", async () => {
      const made = await create(false, "abc");
      assert.equal(made.status, 201);
      assert.equal(made.headers["upload-offset"], "3");
      assert.ok(!isComplete(made));
      const url = located(served, made);
      const middle = await send("PATCH", url, append(3, false), "def");
      assert.equal(middle.status, version <= 5 ? 201 : 204);
      assert.equal(middle.headers["upload-offset"], "6");
      assert.ok(!isComplete(middle));
      const head = await send("HEAD", url, marked());
      assert.equal(head.status, 204);
      assert.equal(head.headers["upload-offset"], "6");
      assert.equal(head.headers["cache-control"], "no-store");
      assert.ok(!isComplete(head));
      if (version >= 7)
        assert.match(String(head.headers["upload-limit"]), /max-size=1000000, max-age=3[56]\d\d/);
      if (version === 6) assert.match(String(head.headers["upload-limit"]), /expires=\d+/);
      const last = await send("PATCH", url, append(6, true), "gh");
      assert.equal(last.status, 200);
      assert.ok(isComplete(last));
      assert.ok(isComplete(await send("HEAD", url, marked())));
      assert.equal((await send("GET", url)).text, "abcdefgh");
    });

    it("an empty request completes an upload whose bytes are all there", async () => {
      const url = located(served, await create(false, "abc"));
      const last = await send("PATCH", url, append(3, true), "");
      assert.equal(last.status, 200);
      assert.equal((await send("GET", url)).text, "abc");
    });

    it("a wrong offset changes nothing and is told the right one", async () => {
      const url = located(served, await create(false, "abc"));
      const got = await send("PATCH", url, append(2, false), "x");
      assert.equal(got.status, 409);
      assert.equal(got.headers["upload-offset"], "3");
      if (version >= 6) {
        assert.equal(got.headers["content-type"], "application/problem+json");
        assert.deepEqual(JSON.parse(got.text), {
          type: `${TYPE}mismatching-upload-offset`,
          title: "the upload is at offset 3, not 2",
          status: 409,
          "expected-offset": 3,
          "provided-offset": 2,
        });
      }
    });

    it("a complete upload takes nothing more", async () => {
      const url = located(served, await create(true, "abc"));
      const got = await send("PATCH", url, append(3, true), "d");
      assert.ok(got.status === 400 || got.status === 409);
      assert.ok(isComplete(got));
      if (version >= 6) assert.equal(JSON.parse(got.text).type, `${TYPE}completed-upload`);
      assert.equal((await send("GET", url)).text, "abc");
    });

    it("DELETE deactivates it", async () => {
      const url = located(served, await create(false, "abc"));
      assert.equal((await send("DELETE", url, marked())).status, 204);
      assert.equal((await send("HEAD", url, marked())).status, 410);
      assert.equal((await send("PATCH", url, append(3, false), "d")).status, 410);
    });

    it("fields that are missing, malformed or out of place are refused", async () => {
      const url = located(served, await create(false, "abc"));
      const bad = version === 3 ? { "Upload-Incomplete": "yes" } : { "Upload-Complete": "yes" };
      assert.equal((await send("POST", served.url, marked(bad), "x")).status, 400);
      assert.equal(
        (await send("PATCH", url, { ...append(3, false), "Upload-Offset": "three" }, "x")).status,
        400,
      );
      assert.equal((await send("HEAD", url, marked({ "Upload-Offset": "3" }))).status, 400);
      if (version >= 6)
        assert.equal(
          (await send("PATCH", url, append(3, false, { "Content-Type": "text/plain" }), "x")).status,
          415,
        );
    });

    it("more than the limit is refused with the limit", async () => {
      const got = await create(true, "x".repeat(1_000_001));
      assert.equal(got.status, 413);
      if (version >= 6) assert.match(String(got.headers["upload-limit"]), /max-size=1000000/);
    });

    if (version >= 6) {
      it("lengths have to agree, and going beyond closes the upload", async () => {
        assert.equal((await create(true, "abc", { "Upload-Length": "4" })).status, 400);
        const url = located(served, await create(false, "abc", { "Upload-Length": "5" }));
        assert.equal((await send("HEAD", url, marked())).headers["upload-length"], "5");
        const other = await send("PATCH", url, append(3, false, { "Upload-Length": "6" }), "d");
        assert.equal(other.status, 400);
        assert.equal(JSON.parse(other.text).type, `${TYPE}inconsistent-upload-length`);
        const beyond = await send(
          "PATCH",
          url,
          append(3, false, { "Transfer-Encoding": "chunked" }),
          "defgh",
          { trailers: {} },
        );
        assert.equal(beyond.status, 400);
        assert.equal((await send("HEAD", url, marked())).status, 410);
      });

      it("digests: of one request, of the whole, and told when wanted", async () => {
        const sha = (text: string) => `sha-256=:${createHash("sha256").update(text).digest("base64")}:`;
        const url = located(served, await create(false, "abc", { "Repr-Digest": sha("abcdef") }));
        const wrong = await send("PATCH", url, append(3, false, { "Content-Digest": sha("xyz") }), "def");
        assert.equal(wrong.status, 400);
        assert.equal(JSON.parse(wrong.text).type, `${TYPE}digest-mismatching-values`);
        const head = await send("HEAD", url, marked({ "Want-Repr-Digest": "sha-256=10" }));
        assert.equal(head.headers["upload-offset"], "3");
        assert.equal(head.headers["repr-digest"], sha("abc"));
        const last = await send("PATCH", url, append(3, true, { "Content-Digest": sha("def") }), "def");
        assert.equal(last.status, 200);
        assert.equal(last.headers["repr-digest"], sha("abcdef"));
        const other = located(served, await create(false, "abc", { "Repr-Digest": sha("something else") }));
        assert.equal((await send("PATCH", other, append(3, true), "def")).status, 400);
        assert.equal((await send("HEAD", other, marked())).status, 410);
      });
    }
  });
}

describe("resumable uploads for HTTP, around the versions", () => {
  let served: Served;
  before(async () => {
    served = await serve({ policy: { maxBytes: 100_000_000, commitBytes: 1_000_000 } });
  });
  after(() => served.stop());

  it("OPTIONS tells that partial uploads are taken, and the limits", async () => {
    const got = await send("OPTIONS", served.url);
    assert.equal(got.headers["accept-patch"], "application/partial-upload");
    assert.equal(got.headers["upload-limit"], "max-size=100000000");
  });

  it("without a version, or with one not spoken here, there is no 104, and the upload works all the same", async () => {
    for (const headers of [{}, { "Upload-Draft-Interop-Version": "99" }]) {
      const got = await send("POST", served.url, { ...headers, "Upload-Complete": "?1" }, "abc");
      assert.equal(got.status, 200);
      assert.deepEqual(got.interim, []);
      assert.equal((await send("HEAD", located(served, got))).headers["upload-complete"], "?1");
    }
  });

  it("progress is told while content arrives, and never goes back", async () => {
    const got = await send(
      "POST",
      served.url,
      { "Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1" },
      Buffer.alloc(12_000_000),
    );
    const offsets = got.interim.flatMap((one) =>
      one.headers["upload-offset"] === undefined ? [] : [Number(one.headers["upload-offset"])],
    );
    assert.ok(offsets.length > 0);
    assert.deepEqual(
      offsets,
      [...offsets].sort((a, b) => a - b),
    );
    assert.ok(got.interim.slice(1).every((one) => one.headers.location === undefined));
  });

  it("the off switch keeps interim responses away", async () => {
    const quiet = await serve({ policy: { interim: false } });
    const got = await send(
      "POST",
      quiet.url,
      { "Upload-Draft-Interop-Version": "8", "Upload-Complete": "?1" },
      "abc",
    );
    assert.equal(got.status, 200);
    assert.deepEqual(got.interim, []);
    await quiet.stop();
  });

  it("over HTTP/2 the 104 is an informational response of the stream", async () => {
    const server = createHttp2Server((request, response) => void served.transfers.node(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const stream = session.request({
      ":method": "POST",
      ":path": "/files",
      "upload-draft-interop-version": "8",
      "upload-complete": "?1",
    });
    const interim: number[] = [];
    stream.on("headers", (headers) => interim.push(Number(headers[":status"])));
    const status = new Promise<number>((resolve) =>
      stream.on("response", (headers) => resolve(Number(headers[":status"]))),
    );
    stream.end("over http/2");
    assert.equal(await status, 200);
    assert.deepEqual(interim.slice(0, 1), [104]);
    stream.resume();
    await new Promise((resolve) => stream.on("close", resolve));
    await new Promise<void>((resolve) => session.close(resolve));
    await new Promise((resolve) => server.close(resolve));
  });
});
