import test from "node:test";
import { fuzz } from "./socks-inputs.ts";

test("a million inputs make no SOCKS codec or machine throw", () => {
  const seed = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`FUZZ_SEED=${seed}`);
  fuzz(seed, 1_000_000);
});
