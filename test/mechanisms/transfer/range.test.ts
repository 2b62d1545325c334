import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { openDownload } from "../../../src/mechanisms/transfer/download.ts";
import { readRange } from "../../../src/mechanisms/transfer/protocol/range.ts";
import { send, serve } from "./served.ts";
import type { Served } from "./served.ts";

const CONTENT = Buffer.from(Array.from({ length: 10_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff));

describe("ranges of RFC 9110", () => {
  const ranges = (field: string, size = 10_000) => {
    const read = readRange(field, size);
    return read.kind === "ranges"
      ? read.ranges.map((one) => `${one.start}-${one.end - 1}`).join(" ")
      : read.kind;
  };

  it("single, open, suffix, and larger than the file", () => {
    assert.equal(ranges("bytes=0-0"), "0-0");
    assert.equal(ranges("bytes=0-499"), "0-499");
    assert.equal(ranges("bytes=9500-"), "9500-9999");
    assert.equal(ranges("bytes=-500"), "9500-9999");
    assert.equal(ranges("bytes=-20000"), "0-9999");
    assert.equal(ranges("bytes=9999-99999999999999999999"), "9999-9999");
    assert.equal(ranges("Bytes = 0-1"), "0-1");
    assert.equal(ranges("bytes=007-008"), "7-8");
  });

  it("what cannot be satisfied is told apart from what is not well-formed", () => {
    for (const field of ["bytes=10000-", "bytes=99999999999999999999-", "bytes=-0", "bytes=10000-10001,-0"])
      assert.equal(ranges(field), "unsatisfiable", field);
    assert.equal(ranges("bytes=0-", 0), "unsatisfiable");
    assert.equal(ranges("bytes=-1", 0), "unsatisfiable");
    for (const field of [
      "bytes=",
      "bytes=-",
      "bytes=5-4",
      "bytes=a-b",
      "bytes=1-2-3",
      "bytes 0-1",
      "items=0-1",
      "bytes=0-1,x",
      "bytes=0x1-2",
      "bytes=+1-2",
      "bytes=,",
      "none=",
      "bytes=9007199254740993-9007199254740992",
    ])
      assert.equal(ranges(field), "whole", field);
  });

  it("several keep the order they were asked in; neighbours and overlaps are joined", () => {
    assert.equal(ranges("bytes=500-600,0-10"), "500-600 0-10");
    assert.equal(ranges("bytes=0-10,5-20"), "0-20");
    assert.equal(ranges("bytes=0-10,11-20"), "0-20");
    assert.equal(ranges("bytes=0-10,50-60"), "0-60");
    assert.equal(ranges("bytes=0-10, ,400-410,"), "0-10 400-410");
    assert.equal(ranges("bytes=0-10,20000-"), "0-10");
    assert.equal(ranges("bytes=0-,-1,0-0"), "0-9999");
  });

  it("no list of ranges costs more than the file, and a long one gets the whole", () => {
    assert.equal(ranges(`bytes=${Array.from({ length: 300 }, () => "0-").join(",")}`), "whole");
    assert.equal(
      ranges(
        `bytes=${Array.from({ length: 50 }, (_, index) => `${index * 200}-${index * 200 + 1}`).join(",")}`,
      ),
      "whole",
    );
    const spec = fc
      .tuple(fc.option(fc.nat(20_000)), fc.option(fc.nat(20_000)))
      .map(([a, b]) => `${a ?? ""}-${b ?? ""}`);
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 40 }), fc.integer({ min: 0, max: 15_000 }), (specs, size) => {
        const read = readRange(`bytes=${specs.join(",")}`, size);
        if (read.kind !== "ranges") return;
        assert.ok(read.ranges.reduce((sum, one) => sum + one.end - one.start, 0) <= size);
        for (const one of read.ranges) assert.ok(one.start >= 0 && one.start < one.end && one.end <= size);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => void readRange(text, 100)));
  });
});

describe("downloads", () => {
  let served: Served;
  let server: Server;
  let directory = "";
  let url = "";
  let etag = "";
  let modified = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-download-"));
    const path = join(directory, "fäile.bin");
    await writeFile(path, CONTENT);
    await utimes(path, 1_700_000_000, 1_700_000_000);
    served = await serve();
    const download = served.transfers.download({ path, type: "application/x-test" });
    const missing = served.transfers.download(join(directory, "missing"));
    server = createServer(
      (request, response) => void (request.url === "/missing" ? missing : download).node(request, response),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const got = await send("GET", url);
    etag = got.headers.etag ?? "";
    modified = got.headers["last-modified"] ?? "";
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await served.stop();
    await rm(directory, { recursive: true });
  });
  const get = (headers: Record<string, string> = {}) => send("GET", url, headers);

  it("the whole, with a strong tag, and safe to open", async () => {
    const got = await get();
    assert.equal(got.status, 200);
    assert.deepEqual(got.body, CONTENT);
    assert.match(etag, /^"[^"]+"$/);
    assert.equal(got.headers["accept-ranges"], "bytes");
    assert.equal(got.headers["content-type"], "application/x-test");
    assert.equal(got.headers["x-content-type-options"], "nosniff");
    assert.equal(
      got.headers["content-disposition"],
      "attachment; filename=\"f_ile.bin\"; filename*=UTF-8''f%C3%A4ile.bin",
    );
  });

  it("HEAD tells the same and ignores Range", async () => {
    const got = await send("HEAD", url, { Range: "bytes=0-4" });
    assert.equal(got.status, 200);
    assert.equal(got.headers["content-length"], "10000");
    assert.equal(got.body.length, 0);
  });

  it("one range: 206 with its place", async () => {
    const got = await get({ Range: "bytes=100-199" });
    assert.equal(got.status, 206);
    assert.equal(got.headers["content-range"], "bytes 100-199/10000");
    assert.equal(got.headers["content-length"], "100");
    assert.equal(got.headers.etag, etag);
    assert.deepEqual(got.body, CONTENT.subarray(100, 200));
    assert.deepEqual((await get({ Range: "bytes=-1" })).body, CONTENT.subarray(9_999));
  });

  it("several ranges: multipart, each part with its place", async () => {
    const got = await get({ Range: "bytes=0-9,5000-5009,-10" });
    assert.equal(got.status, 206);
    assert.equal(got.headers["content-range"], undefined);
    assert.equal(Number(got.headers["content-length"]), got.body.length);
    const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(got.headers["content-type"] ?? "")?.[1];
    assert.ok(boundary !== undefined);
    const parts = got.body.toString("latin1").split(`--${boundary}`);
    assert.equal(parts.length, 5);
    assert.equal(parts[4], "--\r\n");
    for (const [index, start] of [0, 5_000, 9_990].entries()) {
      const [head, body] = (parts[index + 1] ?? "").split("\r\n\r\n");
      assert.match(head ?? "", new RegExp(`Content-Range: bytes ${start}-${start + 9}/10000`));
      assert.equal(body?.slice(0, 10), CONTENT.subarray(start, start + 10).toString("latin1"));
    }
  });

  it("a range beyond the end: 416 with the size", async () => {
    const got = await get({ Range: "bytes=10000-" });
    assert.equal(got.status, 416);
    assert.equal(got.headers["content-range"], "bytes */10000");
    assert.equal(got.body.length, 0);
  });

  it("If-Range: a strong tag that matches, and nothing else, lets a range through", async () => {
    const status = async (value: string) => (await get({ Range: "bytes=0-0", "If-Range": value })).status;
    assert.equal(await status(etag), 206);
    assert.equal(await status(`W/${etag}`), 200);
    assert.equal(await status('"other"'), 200);
    assert.equal(await status(modified), 206);
    assert.equal(await status(new Date(Date.parse(modified) + 1_000).toUTCString()), 200);
    assert.equal(await status("nonsense"), 200);
    assert.equal((await get({ Range: "bytes=99999-", "If-Range": '"other"' })).status, 200);
  });

  it("preconditions, in their order", async () => {
    const status = async (headers: Record<string, string>) => (await get(headers)).status;
    const later = new Date(Date.parse(modified) + 86_400_000).toUTCString();
    const earlier = new Date(Date.parse(modified) - 86_400_000).toUTCString();
    assert.equal(await status({ "If-None-Match": etag }), 304);
    assert.equal(await status({ "If-None-Match": `W/${etag}` }), 304);
    assert.equal(await status({ "If-None-Match": `"a", ${etag}` }), 304);
    assert.equal(await status({ "If-None-Match": "*" }), 304);
    assert.equal(await status({ "If-None-Match": '"a"' }), 200);
    assert.equal(await status({ "If-Modified-Since": modified }), 304);
    assert.equal(await status({ "If-Modified-Since": earlier }), 200);
    assert.equal(await status({ "If-None-Match": '"a"', "If-Modified-Since": later }), 200);
    assert.equal(await status({ "If-Match": etag }), 200);
    assert.equal(await status({ "If-Match": "*" }), 200);
    assert.equal(await status({ "If-Match": `W/${etag}` }), 412);
    assert.equal(await status({ "If-Match": '"a"' }), 412);
    assert.equal(await status({ "If-Unmodified-Since": earlier }), 412);
    assert.equal(await status({ "If-Unmodified-Since": modified }), 200);
    assert.equal(await status({ "If-Match": etag, "If-Unmodified-Since": earlier }), 200);
    assert.equal(await status({ "If-None-Match": etag, Range: "bytes=0-0" }), 304);
  });

  it("other methods get 405, what is not there 404", async () => {
    assert.equal((await send("POST", url, {}, "x")).status, 405);
    assert.equal((await send("GET", `${url}missing`)).status, 404);
  });

  it("the same through fetch", async () => {
    const download = served.transfers.download({ path: join(directory, "fäile.bin") });
    const got = await download.fetch(new Request("http://localhost/", { headers: { range: "bytes=5-9" } }));
    assert.equal(got.status, 206);
    assert.deepEqual(Buffer.from(await got.arrayBuffer()), CONTENT.subarray(5, 10));
  });

  it("a file with a known digest tells it, unless another is wanted", async () => {
    const sha256 = createHash("sha256").update(CONTENT).digest();
    const download = served.transfers.download({ path: join(directory, "fäile.bin"), sha256 });
    const digest = async (headers: Record<string, string>) =>
      (await download.fetch(new Request("http://localhost/", { headers }))).headers.get("repr-digest");
    const expected = `sha-256=:${sha256.toString("base64")}:`;
    assert.equal(await digest({}), expected);
    assert.equal(await digest({ "want-repr-digest": "sha-512=1, sha-256=9", range: "bytes=0-0" }), expected);
    assert.equal(await digest({ "want-repr-digest": "sha-512=10" }), null);
    assert.equal(await digest({ "want-repr-digest": "sha-256=0" }), null);
  });

  it("a file that changes while it is sent never looks complete", async () => {
    const path = join(directory, "changing.bin");
    const before = Buffer.alloc(3_000_000, 1);
    await writeFile(path, before);
    for (const change of [Buffer.alloc(3_000_000, 2), Buffer.alloc(1_000, 2), Buffer.alloc(4_000_000, 2)]) {
      await writeFile(path, before);
      const response = await served.transfers.download(path).fetch(new Request("http://localhost/"));
      const reader = response.body?.getReader();
      assert.ok(reader !== undefined);
      await reader.read();
      await writeFile(path, change);
      await assert.rejects(async () => {
        while (!(await reader.read()).done);
      }, /changed while it was being sent/);
    }
  });

  it("every change of a file changes its tag", async () => {
    const path = join(directory, "tagged.bin");
    const tags = new Set<string>();
    for (let turn = 0; turn < 20; turn += 1) {
      await writeFile(path, String(turn % 10).repeat(5));
      await utimes(path, 1_700_000_000, 1_700_000_000);
      const opened = await openDownload({ path }, { method: "GET", header: () => undefined }, Date.now());
      await opened?.source.close();
      tags.add(opened?.plan.headers["ETag"] ?? "");
    }
    assert.equal(tags.size, 20);
  });
});
