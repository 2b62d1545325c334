import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { describe } from "node:test";
import { sourcesIn } from "../../script/docs/sources.ts";
import { brokenRules, importsOf, type SourceFile } from "./import-rule.ts";

const dependencies = Object.keys(
  (JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> }).dependencies,
);

test("every import in src/ keeps to who may know whom", () => {
  const files = sourcesIn("src").map(({ path, source }) => ({ path: path.slice("src/".length), source }));
  assert.ok(files.length > 10, "src/ was not found");
  assert.deepEqual(brokenRules(files, dependencies), []);
});

describe("the rule is broken by", () => {
  const cases: readonly (readonly [name: string, path: string, source: string, complaint: RegExp])[] = [
    [
      "wire knowing the kernel",
      "wire/reader.ts",
      `import { x } from "../kernel/clock.ts";`,
      /wire must not know kernel/,
    ],
    [
      "wire using a builtin",
      "wire/reader.ts",
      `import * as zlib from "node:zlib";`,
      /wire must not use node:zlib/,
    ],
    [
      "the kernel opening a socket",
      "kernel/index.ts",
      `import net from "node:net";`,
      /kernel must not use node:net/,
    ],
    [
      "the kernel reading files",
      "kernel/index.ts",
      `const fs = await import("node:fs");`,
      /must not use node:fs/,
    ],
    [
      "the kernel using a package",
      "kernel/index.ts",
      `import pino from "pino";`,
      /must not use a package: pino/,
    ],
    [
      "the kernel knowing a store",
      "kernel/index.ts",
      `export * from "../store/lmdb/index.ts";`,
      /must not know store\/lmdb/,
    ],
    [
      "the kernel looking at the clock",
      "kernel/index.ts",
      "const at = Date.now();",
      /Date\.now: only kernel\/clock\.ts/,
    ],
    [
      "the kernel setting a timer",
      "kernel/index.ts",
      "setTimeout(run, 10);",
      /setTimeout: only kernel\/clock\.ts/,
    ],
    [
      "the kernel making today's date",
      "kernel/index.ts",
      "const at = +new Date();",
      /only kernel\/clock\.ts/,
    ],
    [
      "a store knowing another",
      "store/redis/index.ts",
      `import type { Lmdb } from "../lmdb/index.ts";`,
      /must not know store\/lmdb/,
    ],
    [
      "the near cache knowing a store",
      "store/near/index.ts",
      `import "../lmdb/index.ts";`,
      /must not know store\/lmdb/,
    ],
    [
      "a store knowing a mechanism",
      "store/redis/index.ts",
      `import "../../mechanisms/web/index.ts";`,
      /must not know mechanisms/,
    ],
    [
      "transport knowing a mechanism",
      "transport/tcp.ts",
      `import "../mechanisms/web/index.ts";`,
      /must not know mechanisms/,
    ],
    [
      "a mechanism knowing another",
      "mechanisms/socks/server.ts",
      `import "../web/index.ts";`,
      /must not know mechanisms\/web/,
    ],
    [
      "what stores share knowing one of them",
      "store/preconditions.ts",
      `import "./lmdb/index.ts";`,
      /must not know store\/lmdb/,
    ],
    ["a door knowing another", "web.ts", `import "./tls.ts";`, /must not know tls\.ts/],
    [
      "a mechanism knowing a door",
      "mechanisms/socks/server.ts",
      `import "../../web.ts";`,
      /must not know web\.ts/,
    ],
    [
      "a mechanism knowing a store",
      "mechanisms/web/index.ts",
      `const m = await import("../../store/lmdb/index.ts");`,
      /must not know store/,
    ],
    [
      "nfs knowing the other rpc",
      "mechanisms/nfs/server.ts",
      `import "../rpc/dce/codec.ts";`,
      /must not know mechanisms\/rpc\/dce/,
    ],
    [
      "governance knowing transport",
      "governance/index.ts",
      `import "../transport/tcp.ts";`,
      /must not know transport/,
    ],
    [
      "governance knowing the gateway",
      "governance/index.ts",
      `import "../gateway/index.ts";`,
      /must not know gateway/,
    ],
    [
      "the console knowing the gateway",
      "console/index.ts",
      `import "../gateway/index.ts";`,
      /must not know gateway/,
    ],
    [
      "testing knowing a store",
      "testing/store/index.ts",
      `import "../../store/lmdb/index.ts";`,
      /must not know store/,
    ],
    ["a place nobody thought of", "utils/index.ts", "", /no import rule covers/],
    ["leaving src/", "cli/main.ts", `import "../../package.json";`, /outside src/],
    [
      "a name without its ending",
      "cli/main.ts",
      `import "../kernel/clock";`,
      /no file; write the whole name/,
    ],
    ["a builtin without node:", "cli/main.ts", `import "fs";`, /write node:fs/],
    [
      "a package that is not declared",
      "cli/main.ts",
      `import type { X } from "@scope/nowhere/deep";`,
      /@scope\/nowhere is not among/,
    ],
    [
      "an import only running would tell",
      "transport/tcp.ts",
      "await import(name);",
      /only running it would tell/,
    ],
    [
      "an import half told",
      "transport/tcp.ts",
      "await import(`../kernel/${name}.ts`);",
      /only running it would tell/,
    ],
    [
      "a worker beside it that it must not know",
      "store/redis/index.ts",
      `new Worker(new URL("../lmdb/index.js", import.meta.url));`,
      /must not know store\/lmdb/,
    ],
    [
      "a codec reading files",
      "mechanisms/socks/codec.ts",
      `import { readFileSync } from "node:fs";`,
      /a codec is pure: node:fs/,
    ],
    [
      "a codec waiting",
      "mechanisms/socks/codec.ts",
      `import { setTimeout as wait } from "node:timers/promises";`,
      /is pure: node:timers/,
    ],
    [
      "a codec knowing the kernel",
      "mechanisms/socks/codec.ts",
      `import type { Json } from "../../kernel/record.ts";`,
      /a codec knows wire and its own folder only/,
    ],
    [
      "a codec knowing its machine",
      "mechanisms/socks/codec.ts",
      `import "./machine.ts";`,
      /a codec must not know .*machine/,
    ],
    [
      "a machine knowing the kernel",
      "mechanisms/socks/machine.ts",
      `import type { Clock } from "../../kernel/clock.ts";`,
      /a machine knows wire and its own/,
    ],
    [
      "a machine knowing its server",
      "mechanisms/socks/machine.ts",
      `import "./server.ts";`,
      /a machine must not know .*server/,
    ],
    [
      "a machine looking at the clock",
      "mechanisms/socks/machine.ts",
      "const at = performance.now();",
      /a machine has no clock/,
    ],
    [
      "a machine's inner file opening a socket",
      "mechanisms/dialog/machine/turns.ts",
      `import "node:net";`,
      /a machine is pure: node:net/,
    ],
    [
      "a machine of several using a package",
      "mechanisms/socks/v5-machine.ts",
      `import "ws";`,
      /a machine uses no package: ws/,
    ],
  ];
  for (const [name, path, source, complaint] of cases) {
    test(name, () => {
      const broken = brokenRules(houseWith({ path, source }), dependencies);
      assert.notEqual(broken.length, 0, "nothing was found");
      assert.match(broken.join("\n"), complaint);
    });
  }

  test("a detour: a codec that draws in a file that draws in a socket", () => {
    const files = houseWith(
      { path: "mechanisms/socks/codec.ts", source: `import { address } from "./address.ts";` },
      { path: "mechanisms/socks/address.ts", source: `\nimport { isIP } from "node:net";` },
    );
    assert.deepEqual(brokenRules(files, dependencies), [
      "src/mechanisms/socks/address.ts:2: a codec is pure: node:net (drawn in by src/mechanisms/socks/codec.ts)",
    ]);
  });
});

describe("the rule is kept by", () => {
  const cases: readonly (readonly [name: string, path: string, source: string])[] = [
    [
      "the kernel's own files, crypto and util",
      "kernel/index.ts",
      `import "./clock.ts"; import "node:crypto"; import "node:util";`,
    ],
    ["the one clock", "kernel/clock.ts", "export const now = () => Date.now(); setTimeout(now, 1);"],
    ["a date made of a number", "kernel/index.ts", "new Date(at).toISOString(); clock.setTimeout(run);"],
    [
      "words in comments and text",
      "kernel/index.ts",
      '// Date.now() and import "node:net"\nconst text = \'import "node:fs"; Date.now()\';',
    ],
    [
      "a store on the near cache",
      "store/redis/index.ts",
      `import "../near/index.ts"; import { Redis } from "ioredis"; import "../../kernel/clock.ts";`,
    ],
    [
      "a server putting all together",
      "mechanisms/socks/server.ts",
      `import "./machine.ts"; import "../../transport/tcp.ts"; import "../../kernel/clock.ts"; import "node:net";`,
    ],
    [
      "a door that brings its default store",
      "web.ts",
      `export * from "./mechanisms/web/index.ts"; await import("./store/lmdb/index.ts");`,
    ],
    ["nfs standing on onc rpc", "mechanisms/nfs/codec.ts", `import { xdr } from "../rpc/onc/codec.ts";`],
    [
      "a machine on its codec and wire",
      "mechanisms/socks/machine.ts",
      `import { decode } from "./codec.ts"; import "../../wire/reader.ts"; import "node:crypto";`,
    ],
    [
      "the command line on everything",
      "cli/main.ts",
      `import "../gateway/index.ts"; import "../doctor/index.ts"; await import(name);`,
    ],
    ["an asset beside it", "console/index.ts", `new URL("../../dist/console/", import.meta.url);`],
  ];
  for (const [name, path, source] of cases) {
    test(name, () => assert.deepEqual(brokenRules(houseWith({ path, source }), dependencies), []));
  }
});

test("imports are found in every form they can take", () => {
  const source = [
    `import a from "./a.ts";`,
    `import type { B } from './b.ts';`,
    `import c, { type D } from "./c.ts";`,
    `import * as e from "./e.ts";`,
    `import "./f.ts";`,
    `export * from "./g.ts";`,
    `export * as h from "./h.ts";`,
    `export type { I } from "./i.ts";`,
    `import {`,
    `  j,`,
    `} from "./j.ts";`,
    `const k = await import("./k.ts");`,
    `type L = typeof import("./l.ts");`,
    `const m = require("m");`,
    `export interface Plain { from: string }`,
    `import{n}from"./n.ts";`,
    "const o = await import(`./o.ts`);",
    `const pattern = /["'\`]/; import("./p.ts");`,
    `const nested = \`\${inner(\`\${await import("./q.ts")}\`)} import "./not.ts"\`;`,
    `// import "./not.ts";`,
    `/* export * from "./not.ts"; */`,
    `const text = "import './not.ts'";`,
    `object.import("./not.ts");`,
    `import.meta.resolve("./not.ts");`,
  ].join("\n");
  assert.deepEqual(
    importsOf(source).map((one) => one.specifier),
    ["a", "b", "c", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"].map((name) =>
      name === "m" ? name : `./${name}.ts`,
    ),
  );
});

/** A small house in which every import of the cases leads somewhere, with `changed` put in. */
function houseWith(...changed: readonly SourceFile[]): SourceFile[] {
  const paths = [
    "wire/reader.ts",
    "kernel/index.ts",
    "kernel/clock.ts",
    "kernel/record.ts",
    "web.ts",
    "tls.ts",
    "store/preconditions.ts",
    "store/near/index.ts",
    "store/lmdb/index.ts",
    "store/redis/index.ts",
    "transport/tcp.ts",
    "mechanisms/web/index.ts",
    "mechanisms/socks/codec.ts",
    "mechanisms/socks/machine.ts",
    "mechanisms/socks/server.ts",
    "mechanisms/rpc/onc/codec.ts",
    "mechanisms/rpc/dce/codec.ts",
    "governance/index.ts",
    "doctor/index.ts",
    "gateway/index.ts",
  ];
  const house = new Map(paths.map((path) => [path, ""]));
  for (const { path, source } of changed) house.set(path, source);
  return [...house].map(([path, source]) => ({ path, source }));
}
