import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { lifecyclePage } from "../../script/docs/lifecycle-page.ts";
import { matrixPage, rfcMatrix, tagsIn } from "../../script/docs/rfc-matrix.ts";
import { sourcesOfTheMatrix } from "../../script/docs/sources.ts";
import { LIFECYCLE } from "../../src/kernel/lifecycle.ts";

test("docs/lifecycle.md is the kernel's table as it is now", () => {
  assert.equal(readFileSync("docs/lifecycle.md", "utf8"), lifecyclePage(), "run npm run docs");
});

test("the lifecycle page names every event with its moves", () => {
  const page = lifecyclePage();
  for (const [event, { phase, moves }] of Object.entries(LIFECYCLE)) {
    const row = page.split("\n").find((line) => line.startsWith(`| ${phase} | \`${event}\` |`));
    assert.ok(row !== undefined, `no row for ${event}`);
    for (const state of Object.keys(moves)) assert.ok(row.includes(state), `${event} lacks ${state}`);
  }
});

test("the RFC matrix holds every rule a test is named after", () => {
  const sources = sourcesOfTheMatrix();
  const rows = rfcMatrix(sources);
  const page = matrixPage(rows);
  for (const { path, source } of sources) {
    if (!path.startsWith("test/")) continue;
    for (const [, rule] of source.matchAll(/\b(?:test|it|describe)\(\s*"((?:RFC \d+ §|ASVS )[\d.]*\d)/g)) {
      const row = rows.find((one) => one.rule === rule);
      assert.ok(
        row?.tests.some((one) => one.path === path),
        `${rule} of ${path} is missing`,
      );
      assert.ok(page.includes(`| ${rule} |`), `${rule} is not on the page`);
    }
  }
  assert.ok(readFileSync("docs/rfc-matrix.md", "utf8").startsWith("# Rules, and where they are kept\n"));
});

test("the RFC matrix tells followed from tested", () => {
  const rows = rfcMatrix([
    {
      path: "src/mechanisms/nfs/slot.ts",
      source: `// RFC 8881 §18.46.3: a replayed slot returns the cached reply\nconst text = "RFC 9999 §1: not a comment";`,
    },
    { path: "src/mechanisms/nfs/codec.ts", source: "/** RFC 8881 §18.46.3 and §3.2 */" },
    {
      path: "test/mechanisms/nfs/slot.test.ts",
      source: `// RFC 7777 §1: not a name\ntest("RFC 8881 §18.46.3: a replay | is answered", f);\ntest("ASVS 7.3.1, 7.3.2", f);`,
    },
  ]);
  assert.deepEqual(rows, [
    { rule: "ASVS 7.3.1", implemented: [], tests: [named(3, "ASVS 7.3.1, 7.3.2")] },
    { rule: "ASVS 7.3.2", implemented: [], tests: [named(3, "ASVS 7.3.1, 7.3.2")] },
    { rule: "RFC 8881 §3.2", implemented: ["src/mechanisms/nfs/codec.ts"], tests: [] },
    {
      rule: "RFC 8881 §18.46.3",
      implemented: ["src/mechanisms/nfs/codec.ts", "src/mechanisms/nfs/slot.ts"],
      tests: [named(2, "RFC 8881 §18.46.3: a replay | is answered")],
    },
  ]);
  const page = matrixPage(rows);
  assert.match(
    page,
    /\| RFC 8881 §3\.2 \| \[mechanisms\/nfs\/codec\.ts\]\(\.\.\/src\/mechanisms\/nfs\/codec\.ts\) \| – \|/,
  );
  assert.match(page, /a replay \\\| is answered\]\(\.\.\/test\/mechanisms\/nfs\/slot\.test\.ts#L2\)/);
});

test("tags are read in the ways people write them", () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["RFC 6455 §5.5.1, §7.1.5 say", ["RFC 6455 §5.5.1", "RFC 6455 §7.1.5"]],
    ["(RFC 1002 §4.3.4).", ["RFC 1002 §4.3.4"]],
    ["RFC 1002\n   * §4.2", ["RFC 1002 §4.2"]],
    ["RFC 8881 §A.1 and RFC 5531 §8", ["RFC 8881 §A.1", "RFC 5531 §8"]],
    ["RFC 8176 names them", []],
    ["ASVS 7.1.1–7.1.3", ["ASVS 7.1.1", "ASVS 7.1.2", "ASVS 7.1.3"]],
    ["ASVS 5.0 7.2.4: a new token", ["ASVS 7.2.4"]],
    ["ASVS 7.3.1 and 7.3.2", ["ASVS 7.3.1", "ASVS 7.3.2"]],
    ["section 7.3.1", []],
  ];
  for (const [text, tags] of cases) assert.deepEqual(tagsIn(text), tags, text);
});

function named(line: number, name: string): { path: string; line: number; name: string } {
  return { path: "test/mechanisms/nfs/slot.test.ts", line, name };
}
