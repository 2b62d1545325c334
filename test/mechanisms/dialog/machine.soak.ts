import { test } from "node:test";
import { randomRun } from "./random-dialog.ts";

test("a million random steps and more add up", (t) => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000);
  const steps = Number(process.env["STEPS"] ?? 3_000_000);
  t.diagnostic(`SEED=${seed}`);
  for (let run = 0; run < steps / 300; run++) {
    try {
      randomRun(seed + run, 300);
    } catch (error) {
      throw new Error(`SEED=${seed + run}`, { cause: error });
    }
  }
});
