import { strict as assert } from "node:assert";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Download } from "../../src/mechanisms/transfer/index.ts";
import { send, serve } from "../mechanisms/transfer/served.ts";
import type { Served } from "../mechanisms/transfer/served.ts";

const SIZE = 10_000;
const CONTENT = Buffer.from(Array.from({ length: SIZE }, (_, index) => (index * 7 + (index >> 8)) & 0xff));
const MODIFIED = 1_700_000_000;
const AT = new Date(MODIFIED * 1000).toUTCString();
const BEFORE = new Date((MODIFIED - 10) * 1000).toUTCString();
const LATER = new Date((MODIFIED + 10) * 1000).toUTCString();

/** First and last byte of each part that has to come; none for answers without content of the file. */
type Parts = readonly (readonly [number, number])[];

interface Case {
  readonly name: string;
  /** Header fields; `{etag}` stands for the file's. */
  readonly headers: Readonly<Record<string, string>>;
  readonly status: 200 | 206 | 304 | 405 | 412 | 416;
  readonly parts?: Parts;
  readonly method?: "GET" | "HEAD" | "POST";
  readonly file?: "empty" | "fresh";
}

const WHOLE: Parts = [[0, SIZE - 1]];

const range = (name: string, field: string, ...parts: Parts): Case => ({
  name,
  headers: { range: field },
  status: 206,
  parts,
});
const ignored = (name: string, field: string): Case => ({
  name,
  headers: { range: field },
  status: 200,
  parts: WHOLE,
});
const unsatisfiable = (name: string, field: string): Case => ({
  name,
  headers: { range: field },
  status: 416,
});
const conditional = (
  name: string,
  headers: Readonly<Record<string, string>>,
  status: Case["status"],
): Case => ({
  name,
  headers: { range: "bytes=100-199", ...headers },
  status,
  ...(status === 206 && { parts: [[100, 199]] as const }),
  ...(status === 200 && { parts: WHOLE }),
});

const GROUPS: Readonly<Record<string, readonly Case[]>> = {
  "§14.1.2 one range": [
    range("the first byte", "bytes=0-0", [0, 0]),
    range("the first 500", "bytes=0-499", [0, 499]),
    range("the second 500", "bytes=500-999", [500, 999]),
    range("the last byte by its place", "bytes=9999-9999", [9999, 9999]),
    range("everything from a byte on", "bytes=9500-", [9500, 9999]),
    range("everything from the first byte on", "bytes=0-", [0, 9999]),
    range("the last byte as a suffix", "bytes=-1", [9999, 9999]),
    range("the last 500 as a suffix", "bytes=-500", [9500, 9999]),
    range("a suffix as long as the file", "bytes=-10000", [0, 9999]),
    range("a suffix longer than the file", "bytes=-20000", [0, 9999]),
    range("an end beyond the file", "bytes=9000-20000", [9000, 9999]),
    range("an end beyond every number", "bytes=9000-99999999999999999999999", [9000, 9999]),
    range("leading zeros", "bytes=007-008", [7, 8]),
    range("the unit in capitals (§14.1: it is case-insensitive)", "BYTES=0-1", [0, 1]),
    range("space around it (§5.6.3)", "bytes= 0-1 ", [0, 1]),
  ],
  "§14.1.2 several ranges": [
    range("two apart", "bytes=0-9,5000-5009", [0, 9], [5000, 5009]),
    range("with space after the comma", "bytes=0-9, 5000-5009", [0, 9], [5000, 5009]),
    range("with empty members (§5.6.1)", "bytes=,0-9,,5000-5009,", [0, 9], [5000, 5009]),
    range("in the order they were asked for", "bytes=5000-5009,0-9", [5000, 5009], [0, 9]),
    range("the first and the last byte", "bytes=0-0,-1", [0, 0], [9999, 9999]),
    range("three", "bytes=0-9,5000-5009,-10", [0, 9], [5000, 5009], [9990, 9999]),
    range("overlapping ones become one (§15.3.7.2)", "bytes=0-99,50-149", [0, 149]),
    range("adjacent ones become one", "bytes=0-99,100-199", [0, 199]),
    range("one inside another becomes one", "bytes=0-999,200-299", [0, 999]),
    range("the same twice becomes one", "bytes=700-799,700-799", [700, 799]),
    range("those beyond the file are left out (§14.2)", "bytes=0-9,20000-", [0, 9]),
    range("the whole, asked for a hundred times, comes once", `bytes=${"0-,".repeat(100)}0-`, [0, 9999]),
    ignored(
      "too many small ones get the whole (§14.2, §17.15)",
      `bytes=${Array.from({ length: 300 }, (_, i) => `${i * 30}-${i * 30}`).join(",")}`,
    ),
    ignored(
      "more parts than are sent get the whole",
      `bytes=${Array.from({ length: 60 }, (_, i) => `${i * 160}-${i * 160}`).join(",")}`,
    ),
  ],
  "§15.5.17 what cannot be satisfied": [
    unsatisfiable("from the end on", "bytes=10000-"),
    unsatisfiable("beyond the end", "bytes=10000-10001"),
    unsatisfiable("from beyond every number on", "bytes=99999999999999999999-"),
    unsatisfiable("an empty suffix", "bytes=-0"),
    unsatisfiable("several, none of which can be", "bytes=10000-,20000-20001,-0"),
    { name: "anything of an empty file", headers: { range: "bytes=0-" }, status: 416, file: "empty" },
    { name: "a suffix of an empty file", headers: { range: "bytes=-1" }, status: 416, file: "empty" },
  ],
  "§14.2 what is not well-formed is ignored": [
    ignored("an end before the start", "bytes=5-4"),
    ignored(
      "an end before the start, with numbers too large for a double",
      "bytes=9007199254740993-9007199254740992",
    ),
    ignored("letters", "bytes=a-b"),
    ignored("nothing", "bytes="),
    ignored("commas alone", "bytes=,"),
    ignored("a dash alone", "bytes=-"),
    ignored("no equals sign", "bytes 0-1"),
    ignored("three numbers", "bytes=1-2-3"),
    ignored("a number in hexadecimal", "bytes=0x1-2"),
    ignored("a sign", "bytes=+1-2"),
    ignored("two dashes", "bytes=--1"),
    ignored("a fraction", "bytes=1.5-2"),
    ignored("semicolons", "bytes=0-1;2-3"),
    ignored("a good one with a bad one behind it", "bytes=0-1,x"),
    ignored("a good one with a reversed one behind it", "bytes=0-1,5-4"),
    ignored("an unknown unit (§14.2)", "items=0-1"),
    ignored("the unit none (§14.3)", "none=0-1"),
  ],
  "§14.2 Range is for GET alone": [
    { name: "HEAD ignores it", headers: { range: "bytes=0-9" }, status: 200, method: "HEAD" },
    { name: "POST is refused", headers: { range: "bytes=0-9" }, status: 405, method: "POST" },
    { name: "without it the whole comes", headers: {}, status: 200, parts: WHOLE },
    { name: "an empty file comes whole", headers: {}, status: 200, parts: [], file: "empty" },
  ],
  "§13.1.5 If-Range": [
    conditional("the strong tag lets it through", { "if-range": "{etag}" }, 206),
    conditional("another tag does not", { "if-range": '"other"' }, 200),
    conditional("the weak form of the tag does not", { "if-range": "W/{etag}" }, 200),
    conditional("a list of tags does not", { "if-range": '"other", {etag}' }, 200),
    conditional("the exact date lets it through", { "if-range": AT }, 206),
    conditional("an earlier date does not", { "if-range": BEFORE }, 200),
    conditional("a later date does not: it has to be equal", { "if-range": LATER }, 200),
    conditional("what is neither tag nor date does not", { "if-range": "yesterday" }, 200),
    {
      ...conditional(
        "the date of a file changed just now does not (§8.8.2.2)",
        { "if-range": "{modified}" },
        200,
      ),
      file: "fresh",
    },
    { name: "without Range it is not looked at", headers: { "if-range": '"x"' }, status: 200, parts: WHOLE },
    {
      name: "a stale tag before a range beyond the end gets the whole",
      headers: { range: "bytes=20000-", "if-range": '"x"' },
      status: 200,
      parts: WHOLE,
    },
  ],
  "§13.2.2 preconditions go before the range": [
    conditional("If-Match that holds", { "if-match": "{etag}" }, 206),
    conditional("If-Match that holds for anything", { "if-match": "*" }, 206),
    conditional("If-Match that fails", { "if-match": '"other"' }, 412),
    conditional("If-Match compares strongly", { "if-match": "W/{etag}" }, 412),
    conditional("If-Unmodified-Since that holds", { "if-unmodified-since": AT }, 206),
    conditional("If-Unmodified-Since that fails", { "if-unmodified-since": BEFORE }, 412),
    conditional("If-None-Match that holds", { "if-none-match": '"other"' }, 206),
    conditional("If-None-Match that fails", { "if-none-match": "{etag}" }, 304),
    conditional("If-None-Match compares weakly", { "if-none-match": "W/{etag}" }, 304),
    conditional("If-Modified-Since that fails", { "if-modified-since": AT }, 304),
    conditional("If-Modified-Since that holds", { "if-modified-since": BEFORE }, 206),
    conditional(
      "If-None-Match goes before If-Modified-Since",
      { "if-none-match": '"other"', "if-modified-since": AT },
      206,
    ),
  ],
};

/** An answer, whichever way it came. */
interface Got {
  readonly status: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Buffer;
}

describe("ranged downloads, case by case (RFC 9110)", () => {
  let served: Served;
  let server: Server;
  let directory = "";
  let origin = "";
  const downloads = new Map<string, Download>();

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-range-"));
    served = await serve();
    for (const [name, content, modified] of [
      ["whole", CONTENT, MODIFIED],
      ["empty", Buffer.alloc(0), MODIFIED],
      ["fresh", CONTENT, Math.floor(Date.now() / 1000)],
    ] as const) {
      const path = join(directory, name);
      await writeFile(path, content);
      await utimes(path, modified, modified);
      downloads.set(`/${name}`, served.transfers.download({ path, type: "application/x-test" }));
    }
    server = createServer(
      (request, response) => void downloads.get(request.url ?? "")?.node(request, response),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await served.stop();
    await rm(directory, { recursive: true });
  });

  const overNode = async (method: string, path: string, headers: Record<string, string>): Promise<Got> => {
    const got = await send(method, origin + path, headers);
    return {
      status: got.status,
      body: got.body,
      header: (name) => {
        const value = got.headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      },
    };
  };
  const overFetch = async (method: string, path: string, headers: Record<string, string>): Promise<Got> => {
    const response = await downloads.get(path)?.fetch(new Request(origin + path, { method, headers }));
    assert.ok(response !== undefined);
    const body = Buffer.from(await response.arrayBuffer());
    return { status: response.status, body, header: (name) => response.headers.get(name) ?? undefined };
  };

  it("are at least 52 cases", () => {
    const cases = Object.values(GROUPS).flat();
    assert.ok(cases.length >= 52, `there are ${cases.length}`);
    assert.equal(
      new Set(Object.entries(GROUPS).flatMap(([group, all]) => all.map((one) => group + one.name))).size,
      cases.length,
    );
  });

  for (const [group, cases] of Object.entries(GROUPS))
    describe(group, () => {
      for (const one of cases)
        it(one.name, async () => {
          const { method = "GET", file = "whole" } = one;
          for (const ask of [overNode, overFetch]) {
            const known = await ask("HEAD", `/${file}`, {});
            const headers = Object.fromEntries(
              Object.entries(one.headers).map(([name, value]) => [
                name,
                value
                  .replace("{etag}", known.header("etag") ?? "")
                  .replace("{modified}", known.header("last-modified") ?? ""),
              ]),
            );
            const got = await ask(method, `/${file}`, headers);
            assert.equal(got.status, one.status);
            assertAnswer(got, one, file === "empty" ? 0 : SIZE);
          }
        });
    });
});

function assertAnswer(got: Got, { status, parts, method }: Case, size: number): void {
  if (status === 405) return assert.equal(got.header("allow"), "GET, HEAD");
  // §8.8.3, §15.3.7: the tag goes with every one of these, and it is a strong one.
  assert.match(got.header("etag") ?? "", /^"[^"]+"$/);
  if (status === 416) return assert.equal(got.header("content-range"), `bytes */${size}`);
  if (parts === undefined) {
    assert.equal(got.body.length, 0);
    if (method === "HEAD") assert.equal(got.header("content-length"), String(size));
    assert.equal(got.header("content-range"), undefined);
    return;
  }
  assert.equal(got.header("accept-ranges"), "bytes");
  assert.equal(got.header("content-length"), String(got.body.length));
  const [only, ...more] = parts;
  if (status === 200) {
    assert.equal(got.header("content-range"), undefined);
    assert.deepEqual(got.body, size === 0 ? Buffer.alloc(0) : CONTENT);
  } else if (only !== undefined && more.length === 0) {
    assert.equal(got.header("content-type"), "application/x-test");
    assert.equal(got.header("content-range"), `bytes ${only[0]}-${only[1]}/${size}`);
    assert.deepEqual(got.body, CONTENT.subarray(only[0], only[1] + 1));
  } else assertMultipart(got, parts, size);
  assert.ok(got.body.length <= 2 * SIZE, "no answer is more than twice the file");
}

/** §14.6: each part says its type and place; the whole carries no Content-Range of its own. */
function assertMultipart(got: Got, parts: Parts, size: number): void {
  assert.equal(got.header("content-range"), undefined);
  const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(got.header("content-type") ?? "")?.[1];
  assert.ok(boundary !== undefined);
  const text = got.body.toString("latin1");
  assert.ok(text.endsWith(`\r\n--${boundary}--\r\n`));
  const pieces = text.split(`--${boundary}\r\n`).slice(1);
  assert.equal(pieces.length, parts.length);
  for (const [index, [first, last]] of parts.entries()) {
    const [head = "", ...rest] = (pieces[index] ?? "").split("\r\n\r\n");
    assert.match(head, /^Content-Type: application\/x-test$/m);
    assert.match(head, new RegExp(`^Content-Range: bytes ${first}-${last}/${size}$`, "m"));
    const content = Buffer.from(rest.join("\r\n\r\n"), "latin1").subarray(0, last - first + 1);
    assert.deepEqual(content, CONTENT.subarray(first, last + 1));
  }
}
