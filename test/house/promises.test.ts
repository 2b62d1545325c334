import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** What is promised by number has a test that bears the number, so that a failing name says which promise is broken. */

/** The numbers in the names of tests that begin with `word`: `"rule 3: …"`, `"guarantees 4, 11: …"`. */
function promised(source: string, word: RegExp): Set<string> {
  const found = new Set<string>();
  for (const [, numbers = ""] of source.matchAll(
    new RegExp(`"(?:${word.source}) ([\\d.]+(?:, [\\d.]+)*)[: ]`, "g"),
  ))
    for (const number of numbers.split(", ")) found.add(number);
  return found;
}

const upTo = (last: number): string[] => Array.from({ length: last }, (_, i) => String(i + 1));

test("each of the twelve rules of the kernel has a test of its number", () => {
  const rules = promised(readFileSync("test/kernel/rules.test.ts", "utf8"), /rule/);
  assert.deepEqual(
    upTo(12).filter((rule) => !rules.has(rule)),
    [],
  );
});

test("each of the eleven guarantees of a store has a case of its number in the suite that every store passes", () => {
  const folder = "src/testing/store/";
  const cases = readdirSync(folder).filter((name) => name.endsWith("-cases.ts"));
  const suite = cases.map((name) => readFileSync(folder + name, "utf8")).join("\n");
  const guarantees = promised(suite, /guarantees?/);
  assert.deepEqual(
    upTo(11).filter((guarantee) => !guarantees.has(guarantee)),
    [],
  );
  const page = readFileSync("docs/stores.md", "utf8");
  for (const number of upTo(11))
    assert.match(page, new RegExp(`^${number}\\. `, "m"), "docs/stores.md says what it is");
});

test("each requirement of ASVS that a session library can meet by itself has a test of its number", () => {
  const tested = promised(readFileSync("test/mechanisms/web/asvs.test.ts", "utf8"), /ASVS/);
  const wanted = [
    ...["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.3.1", "7.3.2"],
    ...["7.4.1", "7.4.2", "7.4.3", "7.4.4", "7.4.5", "7.5.1", "7.5.2", "7.5.3", "7.6.1", "7.6.2"],
    ...["3.3.1", "3.3.2", "3.3.3", "3.3.4", "3.3.5", "3.5.1", "3.5.2", "3.5.3"],
  ];
  assert.deepEqual(
    wanted.filter((requirement) => !tested.has(requirement)),
    [],
  );
});
