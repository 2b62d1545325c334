import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { fuzzNetbios } from "./netbios-inputs.ts";

test("100,000 mutated and random inputs to the codecs and machines: no uncaught error", (context) => {
  const seed = Number(process.env["FUZZ_SEED"] ?? randomInt(2 ** 31));
  context.diagnostic(`FUZZ_SEED=${seed}`);
  const { accepted, rejected } = fuzzNetbios(100_000, seed);
  assert.equal(accepted + rejected, 100_000);
  assert.ok(accepted > 1_000 && rejected > 1_000, "the mutations reach both sides of the decoders");
});
