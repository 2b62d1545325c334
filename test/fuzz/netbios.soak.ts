import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { fuzzNetbios } from "./netbios-inputs.ts";

test("a million mutated and random inputs for each codec: no uncaught error", (context) => {
  const seed = Number(process.env["FUZZ_SEED"] ?? randomInt(2 ** 31));
  context.diagnostic(`FUZZ_SEED=${seed}`);
  // Every other input goes to the session service, the rest to the name service.
  const { accepted, rejected } = fuzzNetbios(2_000_000, seed);
  assert.equal(accepted + rejected, 2_000_000);
});
