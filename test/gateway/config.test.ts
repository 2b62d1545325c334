import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import {
  ConfigError,
  parseConfig,
  publishedSchema,
  readConfig,
  sampleConfig,
} from "../../src/gateway/index.ts";

const mistakes = (text: string, env: Record<string, string> = {}): readonly string[] => {
  try {
    parseConfig(text, "h.yaml", env);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.mistakes;
  }
  assert.fail(`taken without a complaint:\n${text}`);
};

test("what init writes is a configuration, and says nothing that is not known", () => {
  const config = parseConfig(sampleConfig, "holdfast.yaml", {});
  assert.equal(config.store?.kind, "lmdb");
  assert.equal(config.listeners?.[0]?.mechanism, "web");
});

test("an empty file is a configuration: everything has a default", () => {
  assert.deepEqual(parseConfig("", "h.yaml"), {});
  assert.deepEqual(parseConfig("# nothing\n", "h.yaml"), {});
});

const CASES: readonly (readonly [what: string, text: string, place: string, says: RegExp])[] = [
  [
    "a typo in a name",
    "adnim:\n  port: 1\n",
    "h.yaml:1:1",
    /adnim is not known here; did you mean "admin"\?/,
  ],
  [
    "a name that is nothing like any",
    "zebra: 1\n",
    "h.yaml:1:1",
    /zebra is not known here; there are node, data/,
  ],
  ["a typo further in", "admin:\n  prot: 1\n", "h.yaml:2:3", /admin\.prot .*did you mean "port"/],
  ["a wrong type", "admin:\n  port: high\n", "h.yaml:2:9", /admin\.port must be integer; it is "high"/],
  ["a number out of range", "admin:\n  port: 70000\n", "h.yaml:2:9", /admin\.port must be .*65535/],
  [
    "a word that is none of several",
    "store:\n  kind: rediss\n",
    "h.yaml:2:9",
    /one of .*did you mean "redis"/,
  ],
  ["something that is missing", "store:\n  path: x\n", "h.yaml:2:3", /store lacks "kind"/],
  ["a span without a unit", 'drain: "10"\n', "h.yaml:1:8", /drain must be .*such as "30m"/],
  [
    "an option of another listener",
    "listeners:\n  - mechanism: web\n    pressets: aal1\n",
    "h.yaml:3:5",
    /listeners\.0\.pressets .*did you mean "preset"/,
  ],
  ["an unknown mechanism", "listeners:\n  - mechanism: wep\n", "h.yaml:2:16", /did you mean "web"/],
  ["YAML that is none", "admin: {port: 1\n", "h.yaml:2:1", /flow|map/i],
  ["a key given twice", "data: a\ndata: b\n", "h.yaml:2:1", /unique/i],
];

for (const [what, text, place, says] of CASES) {
  test(`${what} is told with its line and column`, () => {
    const [first] = mistakes(text);
    assert.ok(first?.startsWith(`${place}: `), `${first} does not begin with ${place}`);
    assert.match(first ?? "", says);
  });
}

test("all mistakes are told at once", () => {
  assert.equal(mistakes("node: 1\ndrain: soon\nadmin:\n  port: -1\n").length, 3);
});

test("a secret comes from the environment, and one that is not set is a mistake with its place", () => {
  const text = "store:\n  kind: redis\n  url: redis://:${REDIS_PASSWORD}@127.0.0.1\n";
  const config = parseConfig(text, "h.yaml", { REDIS_PASSWORD: "hunter2" });
  assert.equal(config.store?.url, "redis://:hunter2@127.0.0.1");
  assert.deepEqual(mistakes(text), ["h.yaml:3:8: the environment variable REDIS_PASSWORD is not set"]);
});

test("a file that cannot be read is told by its name", () => {
  assert.throws(() => readConfig("/nowhere/h.yaml"), /\/nowhere\/h\.yaml cannot be read/);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-config-"));
  try {
    writeFileSync(join(folder, "h.yaml"), "node: gw-1\n");
    assert.equal(readConfig(join(folder, "h.yaml")).node, "gw-1");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("docs/holdfast.schema.json is the schema that files are held against; npm run docs writes it", () => {
  const published = JSON.parse(readFileSync("docs/holdfast.schema.json", "utf8")) as unknown;
  assert.deepEqual(published, JSON.parse(JSON.stringify(publishedSchema)));
});
