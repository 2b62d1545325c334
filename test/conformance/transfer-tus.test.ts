import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { createUpload, located, send, serve } from "../mechanisms/transfer/served.ts";
import type { Got, Served } from "../mechanisms/transfer/served.ts";

const OFFSET_TYPE = "application/offset+octet-stream";
const HELLO = "hello";
const sum = (algorithm: string, text: string): string =>
  `${algorithm} ${createHash(algorithm).update(text).digest("base64")}`;

/** What a case begins with: the endpoint itself, or an upload of ten bytes that is so far. */
type State =
  | "endpoint"
  | "empty"
  | "half"
  | "done"
  | "deferred"
  | "zero"
  | "with-metadata"
  | "partial"
  | "partial-done"
  | "final"
  | "terminated"
  | "never-made";

interface Case {
  readonly name: string;
  readonly on: State;
  readonly method: string;
  /** Added to Tus-Resumable; a value of `-` takes a field away. `{part}` stands for a finished part's path. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly trailers?: Readonly<Record<string, string>>;
  readonly status: number;
  readonly has?: Readonly<Record<string, RegExp>>;
  readonly lacks?: readonly string[];
  /** The offset that HEAD tells afterwards; `gone`: no such upload any more. */
  readonly afterwards?: number | "gone";
}

const append = (
  offset: number | string,
  more: Readonly<Record<string, string>> = {},
): Record<string, string> => ({
  "content-type": OFFSET_TYPE,
  "upload-offset": String(offset),
  ...more,
});
const post = (
  name: string,
  headers: Readonly<Record<string, string>>,
  status: number,
  more: Partial<Case> = {},
): Case => ({ name, on: "endpoint", method: "POST", headers, status, ...more });
const patch = (
  name: string,
  on: State,
  headers: Readonly<Record<string, string>>,
  body: string,
  status: number,
  afterwards: number,
  more: Partial<Case> = {},
): Case => ({ name, on, method: "PATCH", headers, body, status, afterwards, ...more });
const head = (name: string, on: State, status: number, more: Partial<Case> = {}): Case => ({
  name,
  on,
  method: "HEAD",
  status,
  ...more,
});

const CREATED = { location: /./, "tus-resumable": /^1\.0\.0$/ };

const GROUPS: Readonly<Record<string, readonly Case[]>> = {
  "core: HEAD": [
    head("a new upload is at offset 0", "empty", 200, { has: { "upload-offset": /^0$/ } }),
    head("an upload under way tells its offset", "half", 200, { has: { "upload-offset": /^5$/ } }),
    head("a finished upload tells its offset", "done", 200, { has: { "upload-offset": /^10$/ } }),
    head("the length is told", "half", 200, { has: { "upload-length": /^10$/ } }),
    head("the answer is not to be stored", "half", 200, { has: { "cache-control": /no-store/ } }),
    head("the version is told", "half", 200, { has: { "tus-resumable": /^1\.0\.0$/ } }),
    head("what never was gets 404 without an offset", "never-made", 404, { lacks: ["upload-offset"] }),
    head("what was terminated gets 404 or 410 without an offset", "terminated", 410, {
      lacks: ["upload-offset"],
    }),
    head("an upload of zero bytes is complete", "zero", 200, {
      has: { "upload-offset": /^0$/, "upload-length": /^0$/ },
    }),
    head("it changes nothing", "half", 200, { afterwards: 5 }),
    head("there is no body", "half", 200, { lacks: ["content-type"] }),
  ],
  "core: PATCH": [
    patch("appends at the offset", "empty", append(0), HELLO, 204, 5, { has: { "upload-offset": /^5$/ } }),
    patch("goes on at the offset", "half", append(5), "world", 204, 10, { has: { "upload-offset": /^10$/ } }),
    patch("may bring less than is left", "half", append(5), "wo", 204, 7),
    patch("may bring nothing", "half", append(5), "", 204, 5),
    patch("tells the version", "half", append(5), "w", 204, 6, { has: { "tus-resumable": /^1\.0\.0$/ } }),
    patch("before the offset gets 409", "half", append(0), HELLO, 409, 5),
    patch("beyond the offset gets 409", "half", append(6), "w", 409, 5),
    patch("without an offset gets 400", "half", { "content-type": OFFSET_TYPE }, "w", 400, 5),
    patch("with a negative offset gets 400", "half", append(-1), "w", 400, 5),
    patch("with an offset that is no number gets 400", "half", append("five"), "w", 400, 5),
    patch("with a fraction as offset gets 400", "half", append("5.0"), "w", 400, 5),
    patch(
      "with an offset beyond every number gets 400 or 409",
      "half",
      append("99999999999999999999"),
      "w",
      400,
      5,
    ),
    patch(
      "with another Content-Type gets 415",
      "half",
      append(5, { "content-type": "text/plain" }),
      "w",
      415,
      5,
    ),
    patch("without a Content-Type gets 415", "half", { "upload-offset": "5" }, "w", 415, 5),
    patch("with more than is left gets 413", "half", append(5), "world!", 413, 5),
    patch("to a finished upload gets an error and changes nothing", "done", append(10), "x", 409, 10),
    patch("of nothing to a finished upload at its end is fine", "done", append(10), "", 204, 10),
    {
      name: "to what never was gets 404",
      on: "never-made",
      method: "PATCH",
      headers: append(0),
      body: "x",
      status: 404,
    },
    {
      name: "to what was terminated gets 410",
      on: "terminated",
      method: "PATCH",
      headers: append(0),
      body: "x",
      status: 410,
    },
    {
      name: "to the endpoint gets 405",
      on: "endpoint",
      method: "PATCH",
      headers: append(0),
      body: "x",
      status: 405,
    },
    patch(
      "through X-HTTP-Method-Override appends",
      "half",
      append(5, { "x-http-method-override": "PATCH" }),
      "world",
      204,
      10,
      { method: "POST" },
    ),
    patch(
      "in small letters through the override",
      "half",
      append(5, { "x-http-method-override": "patch" }),
      "w",
      204,
      6,
      { method: "POST" },
    ),
  ],
  "core: versions": [
    post(
      "creation without a version gets 412",
      { "tus-resumable": "-", "upload-length": "10", "upload-metadata": "a" },
      412,
      { has: { "tus-version": /^1\.0\.0$/ } },
    ),
    post("creation with another version gets 412", { "tus-resumable": "0.2.2", "upload-length": "10" }, 412, {
      has: { "tus-version": /^1\.0\.0$/ },
      lacks: ["location"],
    }),
    patch(
      "an append with another version gets 412 and is not processed",
      "half",
      append(5, { "tus-resumable": "2.0.0" }),
      "w",
      412,
      5,
      { has: { "tus-version": /^1\.0\.0$/ } },
    ),
    head("HEAD with another version gets 412", "half", 412, {
      headers: { "tus-resumable": "2.0.0" },
      lacks: ["upload-offset"],
    }),
    {
      name: "DELETE with another version gets 412 and deletes nothing",
      on: "half",
      method: "DELETE",
      headers: { "tus-resumable": "0.0.1" },
      status: 412,
      afterwards: 5,
    },
    post(
      "several versions at once are none",
      { "tus-resumable": "1.0.0, 0.2.2", "upload-length": "10" },
      412,
    ),
    head("a version that is not spoken is refused before the upload is looked for", "never-made", 412, {
      headers: { "tus-resumable": "2.0.0" },
    }),
    post("every error tells the version", { "upload-length": "x" }, 400, {
      has: { "tus-resumable": /^1\.0\.0$/ },
    }),
  ],
  "core: OPTIONS": [
    {
      name: "tells the versions",
      on: "endpoint",
      method: "OPTIONS",
      status: 204,
      has: { "tus-version": /^1\.0\.0$/ },
    },
    {
      name: "tells every extension",
      on: "endpoint",
      method: "OPTIONS",
      status: 204,
      has: {
        "tus-extension":
          /^(?=.*\bcreation\b)(?=.*creation-with-upload)(?=.*creation-defer-length)(?=.*expiration)(?=.*\bchecksum\b)(?=.*checksum-trailer)(?=.*termination)(?=.*\bconcatenation\b)(?=.*concatenation-unfinished)/,
      },
    },
    {
      name: "tells the largest size",
      on: "endpoint",
      method: "OPTIONS",
      status: 204,
      has: { "tus-max-size": /^1000000$/ },
    },
    {
      name: "tells the checksum algorithms, sha1 among them",
      on: "endpoint",
      method: "OPTIONS",
      status: 204,
      has: { "tus-checksum-algorithm": /\bsha1\b/ },
    },
    {
      name: "needs no version",
      on: "endpoint",
      method: "OPTIONS",
      headers: { "tus-resumable": "-" },
      status: 204,
      has: { "tus-version": /1\.0\.0/ },
    },
    {
      name: "answers any version",
      on: "endpoint",
      method: "OPTIONS",
      headers: { "tus-resumable": "9.9.9" },
      status: 204,
      has: { "tus-version": /1\.0\.0/ },
    },
    {
      name: "works on an upload, too",
      on: "half",
      method: "OPTIONS",
      status: 204,
      has: { "tus-version": /1\.0\.0/ },
      afterwards: 5,
    },
  ],
  creation: [
    post("with a length gets 201 with a place", { "upload-length": "10" }, 201, { has: CREATED }),
    post("without a length gets 400", {}, 400, { lacks: ["location"] }),
    post("with a negative length gets 400", { "upload-length": "-10" }, 400),
    post("with a length that is no number gets 400", { "upload-length": "ten" }, 400),
    post("with an empty length gets 400", { "upload-length": "" }, 400),
    post("with a fraction as length gets 400", { "upload-length": "1.5" }, 400),
    post("with a length in hexadecimal gets 400", { "upload-length": "0x10" }, 400),
    post("at the largest size is fine", { "upload-length": "1000000" }, 201),
    post("above the largest size gets 413", { "upload-length": "1000001" }, 413, { lacks: ["location"] }),
    post("of zero bytes is complete", { "upload-length": "0" }, 201, { lacks: ["upload-expires"] }),
    post(
      "with metadata",
      { "upload-length": "10", "upload-metadata": "filename ZmlsbS5tcDQ=,type dmlkZW8vbXA0" },
      201,
      { has: CREATED },
    ),
    post("with a key without a value", { "upload-length": "10", "upload-metadata": "is_private" }, 201),
    post("with space around the comma", { "upload-length": "10", "upload-metadata": "a YQ==, b Yg==" }, 201),
    post(
      "with a key that comes twice gets 400",
      { "upload-length": "10", "upload-metadata": "a YQ==,a Yg==" },
      400,
    ),
    post(
      "with a value that is not base64 gets 400",
      { "upload-length": "10", "upload-metadata": "a ***" },
      400,
    ),
    post("with an empty key gets 400", { "upload-length": "10", "upload-metadata": "a YQ==,,b Yg==" }, 400),
    post(
      "with a key that is not ASCII gets 400",
      { "upload-length": "10", "upload-metadata": "\u00e4 YQ==" },
      400,
    ),
    post(
      "with two values for a key gets 400",
      { "upload-length": "10", "upload-metadata": "a YQ== Yg==" },
      400,
    ),
    head("metadata is told as it was given", "with-metadata", 200, {
      has: { "upload-metadata": /^filename ZmlsbS5tcDQ=,is_private$/ },
    }),
    head("where none was given none is told", "empty", 200, { lacks: ["upload-metadata"] }),
    {
      name: "through X-HTTP-Method-Override",
      on: "endpoint",
      method: "PUT",
      headers: { "x-http-method-override": "POST", "upload-length": "10" },
      status: 201,
      has: CREATED,
    },
    {
      name: "GET of the endpoint gets 405 with what there is",
      on: "endpoint",
      method: "GET",
      status: 405,
      has: { allow: /POST/ },
    },
    { name: "DELETE of the endpoint gets 405", on: "endpoint", method: "DELETE", status: 405 },
  ],
  "creation with upload": [
    post("the first bytes come along", { "upload-length": "10", "content-type": OFFSET_TYPE }, 201, {
      body: HELLO,
      has: { ...CREATED, "upload-offset": /^5$/ },
    }),
    post("all bytes come along", { "upload-length": "5", "content-type": OFFSET_TYPE }, 201, {
      body: HELLO,
      has: { "upload-offset": /^5$/ },
      lacks: ["upload-expires"],
    }),
    post("more than the length gets 413", { "upload-length": "4", "content-type": OFFSET_TYPE }, 413, {
      body: HELLO,
    }),
    post("content of another type gets 415", { "upload-length": "10", "content-type": "text/plain" }, 415, {
      body: HELLO,
    }),
    post("with a deferred length", { "upload-defer-length": "1", "content-type": OFFSET_TYPE }, 201, {
      body: HELLO,
      has: { "upload-offset": /^5$/ },
    }),
    post(
      "with a checksum that fits",
      { "upload-length": "10", "content-type": OFFSET_TYPE, "upload-checksum": sum("sha1", HELLO) },
      201,
      { body: HELLO, has: { "upload-offset": /^5$/ } },
    ),
    post(
      "with a checksum that does not fit gets 460",
      { "upload-length": "10", "content-type": OFFSET_TYPE, "upload-checksum": sum("sha1", "x") },
      460,
      { body: HELLO },
    ),
  ],
  "creation with a deferred length": [
    post("gets 201", { "upload-defer-length": "1" }, 201, { has: CREATED }),
    post("with another value than 1 gets 400", { "upload-defer-length": "2" }, 400),
    post("together with a length gets 400", { "upload-defer-length": "1", "upload-length": "10" }, 400),
    head("HEAD says that it is deferred, and no length", "deferred", 200, {
      has: { "upload-defer-length": /^1$/, "upload-offset": /^0$/ },
      lacks: ["upload-length"],
    }),
    patch("content may come before the length", "deferred", append(0), HELLO, 204, 5),
    patch("the length comes with content", "deferred", append(0, { "upload-length": "10" }), HELLO, 204, 5),
    patch("the length may end the upload", "deferred", append(0, { "upload-length": "5" }), HELLO, 204, 5),
    patch(
      "a length below the content gets an error",
      "deferred",
      append(0, { "upload-length": "3" }),
      HELLO,
      413,
      0,
    ),
    patch(
      "a length that is no number gets 400",
      "deferred",
      append(0, { "upload-length": "x" }),
      HELLO,
      400,
      0,
    ),
    patch("a length cannot change", "half", append(5, { "upload-length": "11" }), "w", 400, 5),
    patch("the same length again is fine", "half", append(5, { "upload-length": "10" }), "w", 204, 6),
    head("a length that is known is not deferred", "half", 200, { lacks: ["upload-defer-length"] }),
  ],
  expiration: [
    post("creation tells when", { "upload-length": "10" }, 201, {
      has: { "upload-expires": /^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/ },
    }),
    patch("an append tells when", "half", append(5), "w", 204, 6, { has: { "upload-expires": /GMT$/ } }),
    head("HEAD tells when", "half", 200, { has: { "upload-expires": /GMT$/ } }),
    patch("the last append does not: what is finished never expires", "half", append(5), "world", 204, 10, {
      lacks: ["upload-expires"],
    }),
    head("a finished upload has none", "done", 200, { lacks: ["upload-expires"] }),
    post("an upload of zero bytes has none", { "upload-length": "0" }, 201, { lacks: ["upload-expires"] }),
  ],
  checksum: [
    ...["sha1", "sha256", "md5"].map((algorithm) =>
      patch(
        `${algorithm} that fits`,
        "half",
        append(5, { "upload-checksum": sum(algorithm, "world") }),
        "world",
        204,
        10,
      ),
    ),
    ...["sha1", "sha256", "md5"].map((algorithm) =>
      patch(
        `${algorithm} that does not fit gets 460, and the content is discarded`,
        "half",
        append(5, { "upload-checksum": sum(algorithm, "WORLD") }),
        "world",
        460,
        5,
      ),
    ),
    patch(
      "an unknown algorithm gets 400",
      "half",
      append(5, { "upload-checksum": "crc7 AA==" }),
      "world",
      400,
      5,
    ),
    patch(
      "a field without a sum gets 400",
      "half",
      append(5, { "upload-checksum": "sha1" }),
      "world",
      400,
      5,
    ),
    patch("an empty field gets 400", "half", append(5, { "upload-checksum": "" }), "world", 400, 5),
    patch(
      "a sum that is not base64 gets 400",
      "half",
      append(5, { "upload-checksum": "sha1 ***" }),
      "world",
      400,
      5,
    ),
    patch(
      "a sum of the wrong length gets 400 or 460",
      "half",
      append(5, { "upload-checksum": "sha1 AAAA" }),
      "world",
      400,
      5,
    ),
    patch(
      "a wrong offset goes before a checksum",
      "half",
      append(4, { "upload-checksum": sum("sha1", "world") }),
      "world",
      409,
      5,
    ),
    patch(
      "in the trailer, fitting",
      "half",
      append(5, { trailer: "Upload-Checksum", "transfer-encoding": "chunked" }),
      "world",
      204,
      10,
      { trailers: { "Upload-Checksum": sum("sha1", "world") } },
    ),
    patch(
      "in the trailer, not fitting",
      "half",
      append(5, { trailer: "Upload-Checksum", "transfer-encoding": "chunked" }),
      "world",
      460,
      5,
      { trailers: { "Upload-Checksum": sum("sha1", "WORLD") } },
    ),
    patch(
      "announced for the trailer and not there",
      "half",
      append(5, { trailer: "Upload-Checksum", "transfer-encoding": "chunked" }),
      "world",
      400,
      5,
      { trailers: { "X-Other": "1" } },
    ),
  ],
  termination: [
    {
      name: "an unfinished upload goes with 204",
      on: "half",
      method: "DELETE",
      status: 204,
      afterwards: "gone",
    },
    { name: "a new upload goes with 204", on: "empty", method: "DELETE", status: 204, afterwards: "gone" },
    {
      name: "a finished upload goes with 204",
      on: "done",
      method: "DELETE",
      status: 204,
      afterwards: "gone",
    },
    { name: "a second time it gets 404 or 410", on: "terminated", method: "DELETE", status: 410 },
    { name: "what never was gets 404", on: "never-made", method: "DELETE", status: 404 },
    {
      name: "the version is told",
      on: "half",
      method: "DELETE",
      status: 204,
      has: { "tus-resumable": /^1\.0\.0$/ },
    },
    {
      name: "through X-HTTP-Method-Override",
      on: "half",
      method: "POST",
      headers: { "x-http-method-override": "DELETE" },
      status: 204,
      afterwards: "gone",
    },
    { name: "its content cannot be fetched any more", on: "terminated", method: "GET", status: 410 },
  ],
  concatenation: [
    post("a part is made like any upload", { "upload-concat": "partial", "upload-length": "10" }, 201, {
      has: CREATED,
    }),
    head("a part says that it is one", "partial", 200, { has: { "upload-concat": /^partial$/ } }),
    patch("a part takes content", "partial", append(0), HELLO, 204, 5),
    post("a final upload is made of parts", { "upload-concat": "final;{part} {part}" }, 201, {
      has: CREATED,
    }),
    post("parts may be named by whole addresses", { "upload-concat": "final;{origin}{part} {part}" }, 201),
    head("a final upload tells its parts", "final", 200, {
      has: { "upload-concat": /^final;\/files\/\S+ \/files\/\S+$/ },
    }),
    head("and its length is their sum", "final", 200, {
      has: { "upload-length": /^10$/, "upload-offset": /^10$/ },
    }),
    post(
      "a final upload with a length gets 400",
      { "upload-concat": "final;{part} {part}", "upload-length": "10" },
      400,
    ),
    patch("PATCH of a final upload gets 403", "final", append(0), "x", 403, 10),
    post("a final upload of nothing gets 400", { "upload-concat": "final;" }, 400),
    post(
      "a final upload of what never was gets 400",
      { "upload-concat": "final;/files/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
      400,
    ),
    post(
      "a final upload of addresses elsewhere gets 400",
      { "upload-concat": "final;https://elsewhere.example/files/x" },
      400,
    ),
    post("an unknown kind gets 400", { "upload-concat": "middle", "upload-length": "10" }, 400),
    head("an upload that is neither does not say so", "half", 200, { lacks: ["upload-concat"] }),
    patch("parts may still be under way (concatenation-unfinished)", "partial", append(0), HELLO, 204, 5),
  ],
};

describe("tus 1.0.0, case by case", () => {
  let served: Served;
  before(async () => {
    served = await serve({ policy: { maxBytes: 1_000_000 } });
  });
  after(() => served.stop());

  const fill = async (url: string, text: string, offset = 0): Promise<string> => {
    const got = await send("PATCH", url, { "tus-resumable": "1.0.0", ...append(offset) }, text);
    assert.equal(got.status, 204, got.text);
    return url;
  };
  const part = async (): Promise<string> =>
    fill(await createUpload(served, 5, { "Upload-Concat": "partial" }), HELLO);
  const made = async (headers: Record<string, string>): Promise<string> =>
    located(served, await send("POST", served.url, { "tus-resumable": "1.0.0", ...headers }));

  const STATES: Readonly<Record<State, () => Promise<string>>> = {
    endpoint: () => Promise.resolve(served.url),
    empty: () => createUpload(served, 10),
    half: async () => fill(await createUpload(served, 10), HELLO),
    done: async () => fill(await createUpload(served, 10), "helloworld"),
    deferred: () => made({ "upload-defer-length": "1" }),
    zero: () => createUpload(served, 0),
    "with-metadata": () =>
      createUpload(served, 10, { "Upload-Metadata": "filename ZmlsbS5tcDQ=,is_private" }),
    partial: () => createUpload(served, 10, { "Upload-Concat": "partial" }),
    "partial-done": part,
    final: async () => {
      const [first, second] = [await part(), await part()];
      return made({ "upload-concat": `final;${new URL(first).pathname} ${new URL(second).pathname}` });
    },
    terminated: async () => {
      const url = await createUpload(served, 10);
      await send("DELETE", url, { "tus-resumable": "1.0.0" });
      return url;
    },
    "never-made": () => Promise.resolve(`${served.url}/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA`),
  };

  const headersOf = async ({ headers = {} }: Case): Promise<Record<string, string>> => {
    const sent: Record<string, string> = { "tus-resumable": "1.0.0" };
    for (const [name, value] of Object.entries(headers)) {
      if (value === "-") delete sent[name];
      else {
        let text = value.replaceAll("{origin}", served.origin);
        while (text.includes("{part}")) text = text.replace("{part}", new URL(await part()).pathname);
        sent[name] = text;
      }
    }
    return sent;
  };

  const check = (got: Got, { status, has = {}, lacks = [] }: Case): void => {
    assert.equal(got.status, status, got.text);
    for (const [name, pattern] of Object.entries(has))
      assert.match(String(got.headers[name] ?? ""), pattern, name);
    for (const name of lacks) assert.equal(got.headers[name], undefined, name);
  };

  it("are at least 122 cases, each with a name of its own", () => {
    const names = Object.entries(GROUPS).flatMap(([group, cases]) =>
      cases.map((one) => `${group}: ${one.name}`),
    );
    assert.ok(names.length >= 122, `there are ${names.length}`);
    assert.equal(new Set(names).size, names.length);
  });

  for (const [group, cases] of Object.entries(GROUPS))
    describe(group, () => {
      for (const one of cases)
        it(one.name, async () => {
          const url = await STATES[one.on]();
          const more = one.trailers === undefined ? {} : { trailers: one.trailers };
          check(await send(one.method, url, await headersOf(one), one.body, more), one);
          if (one.afterwards === undefined) return;
          const after = await send("HEAD", url, { "tus-resumable": "1.0.0" });
          if (one.afterwards === "gone") assert.equal(after.status, 410);
          else assert.equal(after.headers["upload-offset"], String(one.afterwards));
        });
    });
});
