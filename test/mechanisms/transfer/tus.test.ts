import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { after, before, describe, it } from "node:test";
import type { FinishedFile } from "../../../src/mechanisms/transfer/index.ts";
import { chunk, createUpload, located, send, serve, tus } from "./served.ts";
import type { Served } from "./served.ts";

describe("tus 1.0", () => {
  let served: Served;
  const finished: FinishedFile[] = [];
  before(async () => {
    served = await serve({ policy: { maxBytes: 10_000_000 }, onFinish: (file) => void finished.push(file) });
  });
  after(async () => {
    assert.deepEqual(served.faults, []);
    await served.stop();
  });

  describe("core", () => {
    it("OPTIONS tells versions, extensions, algorithms and size, and needs no version itself", async () => {
      const got = await send("OPTIONS", served.url);
      assert.equal(got.status, 204);
      assert.equal(got.headers["tus-version"], "1.0.0");
      assert.equal(got.headers["tus-max-size"], "10000000");
      const extensions = String(got.headers["tus-extension"]).split(",");
      for (const one of [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "checksum-trailer",
        "termination",
        "concatenation",
      ]) {
        assert.ok(extensions.includes(one), one);
      }
      assert.ok(String(got.headers["tus-checksum-algorithm"]).split(",").includes("sha1"));
      assert.equal((await send("OPTIONS", served.url, { "Tus-Resumable": "0.2.2" })).status, 204);
    });

    it("HEAD tells offset and length of a new upload, uncached", async () => {
      const url = await createUpload(served, 7);
      const got = await send("HEAD", url, tus());
      assert.equal(got.status, 200);
      assert.equal(got.headers["upload-offset"], "0");
      assert.equal(got.headers["upload-length"], "7");
      assert.equal(got.headers["cache-control"], "no-store");
      assert.equal(got.headers["tus-resumable"], "1.0.0");
    });

    it("an unknown or missing version gets 412 with the versions, and nothing is done", async () => {
      const url = await createUpload(served, 3);
      for (const headers of [chunk(0, { "Tus-Resumable": "2.0.0" }), without(chunk(0), "Tus-Resumable")]) {
        const got = await send("PATCH", url, headers, "abc");
        assert.equal(got.status, 412);
        assert.equal(got.headers["tus-version"], "1.0.0");
      }
      assert.equal((await send("HEAD", url)).status, 412);
      assert.equal((await send("POST", served.url, { "Upload-Length": "1" })).status, 412);
      assert.equal((await send("DELETE", url)).status, 412);
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "0");
    });

    it("PATCH appends, tells the new offset, and the whole arrives as it was sent", async () => {
      const url = await createUpload(served, 11, { "Upload-Metadata": `filename ${b64("grüße.txt")}` });
      const first = await send("PATCH", url, chunk(0), "Hello, ");
      assert.equal(first.status, 204);
      assert.equal(first.headers["upload-offset"], "7");
      assert.equal(first.headers["tus-resumable"], "1.0.0");
      assert.ok(first.headers["upload-expires"] !== undefined);
      const last = await send("PATCH", url, chunk(7), "tus!");
      assert.equal(last.headers["upload-offset"], "11");
      assert.equal(last.headers["upload-expires"], undefined, "what is complete does not expire");
      const file = finished.at(-1);
      assert.equal(file?.name, "grüße.txt");
      assert.equal(file.bytes, 11);
      assert.deepEqual(Buffer.from(file.sha256), createHash("sha256").update("Hello, tus!").digest());
      assert.equal((await send("GET", url)).text, "Hello, tus!");
    });

    it("a wrong Content-Type, a missing or broken offset, and a wrong offset change nothing", async () => {
      const url = await createUpload(served, 10);
      assert.equal((await send("PATCH", url, chunk(0, { "Content-Type": "text/plain" }), "abc")).status, 415);
      assert.equal((await send("PATCH", url, without(chunk(0), "Content-Type"), "abc")).status, 415);
      assert.equal((await send("PATCH", url, without(chunk(0), "Upload-Offset"), "abc")).status, 400);
      for (const offset of ["-1", "1.5", "abc", "", "99999999999999999999"]) {
        assert.equal(
          (await send("PATCH", url, { ...chunk(0), "Upload-Offset": offset }, "abc")).status,
          400,
          offset,
        );
      }
      const conflict = await send("PATCH", url, chunk(5), "abc");
      assert.equal(conflict.status, 409);
      assert.equal(conflict.headers["upload-offset"], "0");
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "0");
    });

    it("what is not there gets 404 without an offset", async () => {
      for (const method of ["HEAD", "PATCH", "DELETE"]) {
        const got = await send(method, `${served.url}/${"x".repeat(32)}`, chunk(0));
        assert.equal(got.status, 404, method);
        assert.equal(got.headers["upload-offset"], undefined);
      }
      assert.equal((await send("HEAD", `${served.url}/..%2f..%2fetc%2fpasswd`, tus())).status, 404);
      assert.equal((await send("PATCH", `${served.url}/short`, chunk(0))).status, 404);
    });

    it("X-HTTP-Method-Override stands for the method", async () => {
      const url = await createUpload(served, 3);
      const patched = await send("POST", url, chunk(0, { "X-HTTP-Method-Override": "PATCH" }), "abc");
      assert.equal(patched.status, 204);
      assert.equal((await send("POST", url, tus({ "X-HTTP-Method-Override": "DELETE" }))).status, 204);
      assert.equal((await send("HEAD", url, tus())).status, 410);
      assert.equal((await send("GET", served.url, { "X-HTTP-Method-Override": "OPTIONS" })).status, 204);
    });

    it("more than the length is refused, counted or not, and what was there stays", async () => {
      const url = await createUpload(served, 5);
      assert.equal((await send("PATCH", url, chunk(0), "123456")).status, 413);
      assert.equal(
        (
          await send("PATCH", url, { ...chunk(0), "Transfer-Encoding": "chunked" }, "123456", {
            trailers: {},
          })
        ).status,
        413,
      );
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "0");
      assert.equal((await send("PATCH", url, chunk(0), "12345")).status, 204);
      const again = await send("PATCH", url, chunk(5), "6");
      assert.ok([403, 409, 413].includes(again.status));
      assert.equal((await send("GET", url)).text, "12345");
    });

    it("a method that has no meaning gets 405 and the list of those that have", async () => {
      const url = await createUpload(served, 5);
      const got = await send("PUT", url, tus(), "x");
      assert.equal(got.status, 405);
      assert.match(String(got.headers["allow"]), /PATCH/);
    });
  });

  describe("creation", () => {
    it("metadata is echoed as it was sent; keys without values and 8-bit names are fine", async () => {
      const field = `filename ${b64("a b,c.txt")},is_confidential,relativePath bnVsbA==`;
      const url = await createUpload(served, 5, { "Upload-Metadata": field });
      assert.equal((await send("HEAD", url, tus())).headers["upload-metadata"], field);
    });

    it("metadata with a double, empty, non-ASCII or broken part is refused", async () => {
      for (const field of ["a YQ==,a YQ==", "a YQ=", "a ???", " ,", "a YQ== YQ==", "a YQ==,,b YQ=="]) {
        const got = await send("POST", served.url, tus({ "Upload-Length": "5", "Upload-Metadata": field }));
        assert.equal(got.status, 400, field);
        assert.match(got.text, /Upload-Metadata/);
      }
      const tooMuch = `a ${Buffer.alloc(9_000).toString("base64")}`;
      assert.equal(
        (await send("POST", served.url, tus({ "Upload-Length": "5", "Upload-Metadata": tooMuch }))).status,
        413,
      );
    });

    it("length: exactly one way to tell it, a number, and not beyond what is taken", async () => {
      const post = (headers: Record<string, string>) => send("POST", served.url, tus(headers));
      assert.equal((await post({})).status, 400);
      assert.equal((await post({ "Upload-Length": "5", "Upload-Defer-Length": "1" })).status, 400);
      assert.equal((await post({ "Upload-Defer-Length": "2" })).status, 400);
      assert.equal((await post({ "Upload-Length": "-5" })).status, 400);
      assert.equal((await post({ "Upload-Length": "10000001" })).status, 413);
      assert.equal((await post({ "Upload-Length": "99999999999999999999" })).status, 400);
    });

    it("zero bytes are complete at creation and handed over", async () => {
      const before = finished.length;
      const url = await createUpload(served, 0);
      assert.equal(finished.length, before + 1);
      const got = await send("HEAD", url, tus());
      assert.equal(got.headers["upload-offset"], "0");
      assert.equal(got.headers["upload-length"], "0");
      assert.equal(got.headers["upload-expires"], undefined);
    });

    it("with content: what came along is told, and may be all of it", async () => {
      const part = await send(
        "POST",
        served.url,
        tus({ "Upload-Length": "6", "Content-Type": "application/offset+octet-stream" }),
        "abc",
      );
      assert.equal(part.status, 201);
      assert.equal(part.headers["upload-offset"], "3");
      assert.equal((await send("HEAD", located(served, part), tus())).headers["upload-offset"], "3");
      const whole = await send(
        "POST",
        served.url,
        tus({ "Upload-Length": "3", "Content-Type": "application/offset+octet-stream" }),
        "abc",
      );
      assert.equal(whole.status, 201);
      assert.equal(whole.headers["upload-expires"], undefined);
      assert.equal((await send("GET", located(served, whole))).text, "abc");
      assert.equal(
        (await send("POST", served.url, tus({ "Upload-Length": "3", "Content-Type": "text/plain" }), "abc"))
          .status,
        415,
      );
    });

    it("deferred length: absent until it is told, then fixed", async () => {
      const created = await send("POST", served.url, tus({ "Upload-Defer-Length": "1" }));
      const url = located(served, created);
      const fresh = await send("HEAD", url, tus());
      assert.equal(fresh.headers["upload-length"], undefined);
      assert.equal(fresh.headers["upload-defer-length"], "1");
      assert.equal((await send("PATCH", url, chunk(0), "abc")).headers["upload-offset"], "3");
      assert.equal((await send("PATCH", url, chunk(3, { "Upload-Length": "2" }), "")).status, 400);
      assert.equal((await send("PATCH", url, chunk(3, { "Upload-Length": "6" }), "d")).status, 204);
      assert.equal((await send("HEAD", url, tus())).headers["upload-length"], "6");
      assert.equal((await send("PATCH", url, chunk(4, { "Upload-Length": "7" }), "e")).status, 400);
      assert.equal((await send("PATCH", url, chunk(4), "ef")).status, 204);
      assert.equal((await send("GET", url)).text, "abcdef");
    });
  });

  describe("checksum", () => {
    const digest = (algorithm: string, text: string) => createHash(algorithm).update(text).digest("base64");

    it("a right one is taken, with every algorithm offered", async () => {
      const crc = Buffer.alloc(4);
      crc.writeUInt32BE(crc32("abc"));
      const sums = [
        ...["sha1", "sha256", "sha512", "md5"].map((one) => `${one} ${digest(one, "abc")}`),
        `crc32 ${crc.toString("base64")}`,
      ];
      for (const sum of sums) {
        const url = await createUpload(served, 3);
        assert.equal(
          (await send("PATCH", url, chunk(0, { "Upload-Checksum": sum }), "abc")).status,
          204,
          sum,
        );
        assert.equal((await send("GET", url)).text, "abc");
      }
    });

    it("a wrong one gets 460, the content is discarded, and the same chunk can be sent again", async () => {
      const url = await createUpload(served, 6);
      await send("PATCH", url, chunk(0), "abc");
      const wrong = await send(
        "PATCH",
        url,
        chunk(3, { "Upload-Checksum": `sha1 ${digest("sha1", "other")}` }),
        "def",
      );
      assert.equal(wrong.status, 460);
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "3");
      const right = await send(
        "PATCH",
        url,
        chunk(3, { "Upload-Checksum": `sha1 ${digest("sha1", "def")}` }),
        "def",
      );
      assert.equal(right.status, 204);
      assert.equal((await send("GET", url)).text, "abcdef");
    });

    it("an unknown algorithm or a malformed field gets 400", async () => {
      const url = await createUpload(served, 3);
      for (const sum of [
        "sha3 YWJj",
        "sha1",
        `sha1 ${digest("sha256", "abc")}`,
        "sha1 ???",
        `sha1  ${digest("sha1", "abc")}`,
      ]) {
        assert.equal(
          (await send("PATCH", url, chunk(0, { "Upload-Checksum": sum }), "abc")).status,
          400,
          sum,
        );
      }
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "0");
    });

    it("it may come at creation, and in the trailers", async () => {
      const made = tus({ "Upload-Length": "3", "Content-Type": "application/offset+octet-stream" });
      assert.equal(
        (
          await send(
            "POST",
            served.url,
            { ...made, "Upload-Checksum": `sha1 ${digest("sha1", "abc")}` },
            "abc",
          )
        ).status,
        201,
      );
      const trailed = (sum: string, url: string) =>
        send("PATCH", url, chunk(0, { "Transfer-Encoding": "chunked", Trailer: "Upload-Checksum" }), "abc", {
          trailers: { "Upload-Checksum": sum },
        });
      const url = await createUpload(served, 3);
      assert.equal((await trailed(`sha1 ${digest("sha1", "xyz")}`, url)).status, 460);
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], "0");
      assert.equal((await trailed(`sha256 ${digest("sha256", "abc")}`, url)).status, 204);
    });
  });

  describe("termination", () => {
    it("the upload is gone at once, finished or not", async () => {
      const url = await createUpload(served, 5);
      await send("PATCH", url, chunk(0), "abc");
      assert.equal((await send("DELETE", url, tus())).status, 204);
      for (const method of ["HEAD", "PATCH", "DELETE"]) {
        assert.equal(
          (await send(method, url, chunk(3), method === "PATCH" ? "de" : undefined)).status,
          410,
          method,
        );
      }
      const whole = await createUpload(served, 0);
      assert.equal((await send("DELETE", whole, tus())).status, 204);
      assert.equal((await send("HEAD", whole, tus())).status, 410);
    });
  });

  describe("concatenation", () => {
    async function part(text: string, complete = true): Promise<string> {
      const url = await createUpload(served, text.length + (complete ? 0 : 1), {
        "Upload-Concat": "partial",
      });
      await send("PATCH", url, chunk(0), text);
      return url;
    }

    it("parts become one file, in the order of the list, and only that is handed over", async () => {
      const before = finished.length;
      const urls = [await part("abc"), await part("defg"), await part("h")];
      assert.equal(finished.length, before, "parts are not files");
      assert.equal((await send("HEAD", urls[0] ?? "", tus())).headers["upload-concat"], "partial");
      const list = urls.map((url) => new URL(url).pathname).join(" ");
      const made = await send("POST", served.url, tus({ "Upload-Concat": `final;${list}` }));
      assert.equal(made.status, 201);
      const url = located(served, made);
      const head = await send("HEAD", url, tus());
      assert.equal(head.headers["upload-concat"], `final;${list}`);
      assert.equal(head.headers["upload-offset"], "8");
      assert.equal(head.headers["upload-length"], "8");
      assert.equal((await send("PATCH", url, chunk(8), "x")).status, 403);
      assert.equal((await send("GET", url)).text, "abcdefgh");
      assert.equal(finished.length, before + 1);
      const absolute = await send("POST", served.url, tus({ "Upload-Concat": `final;${urls.join(" ")}` }));
      assert.equal((await send("GET", located(served, absolute))).text, "abcdefgh");
    });

    it("a final upload carries no length and no content, and its parts have to be parts", async () => {
      const one = await part("abc");
      const post = (headers: Record<string, string>, body?: string) =>
        send("POST", served.url, tus(headers), body);
      assert.equal((await post({ "Upload-Concat": `final;${one}`, "Upload-Length": "3" })).status, 400);
      assert.equal(
        (
          await post(
            { "Upload-Concat": `final;${one}`, "Content-Type": "application/offset+octet-stream" },
            "x",
          )
        ).status,
        403,
      );
      assert.equal((await post({ "Upload-Concat": "final;" })).status, 400);
      assert.equal((await post({ "Upload-Concat": "whole" })).status, 400);
      assert.equal((await post({ "Upload-Concat": `final;${served.url}/${"y".repeat(32)}` })).status, 400);
      assert.equal((await post({ "Upload-Concat": `final;${await createUpload(served, 0)}` })).status, 400);
    });

    it("parts may still be under way: the final upload has no offset until they are done", async () => {
      const [first, second] = [await part("abc"), await part("de", false)];
      const made = await send("POST", served.url, tus({ "Upload-Concat": `final;${first} ${second}` }));
      assert.equal(made.status, 201);
      const url = located(served, made);
      assert.equal((await send("HEAD", url, tus())).headers["upload-offset"], undefined);
      await send("PATCH", second, chunk(2), "f");
      const head = await send("HEAD", url, tus());
      assert.equal(head.headers["upload-offset"], "6");
      assert.equal(head.headers["upload-length"], "6");
      assert.equal((await send("GET", url)).text, "abcdef");
    });
  });
});

function b64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function without(headers: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
}
