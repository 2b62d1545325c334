import assert from "node:assert/strict";
import { testOnOtherNodes } from "../../peers/node-versions.ts";

testOnOtherNodes("sessions resume, and are refused, as they are on this one", {
  files: ["resumption", "refusal", "client-certificates", "hooks"].map(
    (name) => new URL(`./${name}.test.js`, import.meta.url),
  ),
  which: "--test-skip-pattern=/1,000 replays|any one byte/",
  passed: (count) => assert.ok(count > 60, `${count} tests were run`),
});
