import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "node:test";

test("a failing run says what failed, what it wrote, what was skipped, and how many", (t) => {
  const { status, stdout } = run(t, {
    "good.test.js": `test("fine", () => {});`,
    "bad.test.js": `
      console.log("seed 4711");
      describe("group", () => { test("breaks", () => { throw new Error("the reason") }); });
      test("not here", (t) => t.skip("no redis-server"));`,
    "dies.test.js": `process.exit(3);`,
  });
  assert.equal(status, 1);
  assert.match(stdout, /^ok {5}good\.test\.js/m);
  assert.match(stdout, /^FAILED bad\.test\.js {2}/m);
  assert.match(stdout, /FAILED bad\.test\.js:\d+: breaks\n +Error: the reason/);
  assert.match(stdout, /FAILED dies\.test\.js:1: the file itself.*\n +ended with code 3/);
  assert.match(stdout, /last output of bad\.test\.js\n +seed 4711/);
  assert.match(stdout, /bad\.test\.js: not here \(no redis-server\)/);
  assert.match(stdout, /\n# tests 4\n(?:# .*\n)*# fail 2\n/);
  assert.doesNotMatch(stdout, /subtest failed/);
});

test("a run in which all is well is a line a file and the counts", (t) => {
  const { status, stdout } = run(t, { "good.test.js": `test("fine", () => {}); test("also", () => {});` });
  assert.equal(status, 0);
  assert.match(stdout, /^ok {5}good\.test\.js {2}\d+\.\d s\n\n# tests 2\n# suites 0\n# pass 2\n# fail 0\n/);
});

test("a word that no file answers to is a failure, not an empty success", (t) => {
  const { status, stderr } = run(t, { "good.test.js": "" }, ["nowhere"]);
  assert.equal(status, 2);
  assert.match(stderr, /no \.test\.js file matches nowhere/);
});

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs script/run-tests.mjs over a folder of its own. */
function run(
  t: test.TestContext,
  files: Readonly<Record<string, string>>,
  words: readonly string[] = [],
): Outcome {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-reporter-"));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "build/test"), { recursive: true });
  writeFileSync(join(folder, "package.json"), `{"type":"module"}`);
  for (const [name, source] of Object.entries(files)) {
    writeFileSync(join(folder, "build/test", name), `import test, { describe } from "node:test";\n${source}`);
  }
  const { NODE_TEST_CONTEXT: _outer, ...env } = process.env;
  return spawnSync(process.execPath, [resolve("script/run-tests.mjs"), ...words], {
    cwd: folder,
    env,
    encoding: "utf8",
  });
}
