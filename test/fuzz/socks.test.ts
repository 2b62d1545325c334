import test from "node:test";
import { fuzz } from "./socks-inputs.ts";

test("no input makes a SOCKS codec or machine throw", (t) => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
  t.diagnostic(`FUZZ_SEED=${seed}`);
  console.log(`FUZZ_SEED=${seed}`);
  fuzz(seed, 100_000);
});
