import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { lmdb } from "../../src/store/lmdb/index.ts";
import { killOneWriter, storeCase } from "../../src/testing/store/index.ts";

const worker = new URL("../conformance/lmdb-worker.js", import.meta.url).href;
const seed = Number(process.env["HOLDFAST_SEED"] ?? Date.now() % 2 ** 31);

storeCase(
  {
    name: "lmdb",
    async fresh() {
      const path = await mkdtemp(join(tmpdir(), "holdfast-chaos-"));
      return {
        open: async (options = {}) => lmdb({ path, timeoutMs: 60_000, ...options }),
        worker: { module: worker, input: { path } },
        dispose: () => rm(path, { recursive: true, force: true }),
      };
    },
  },
  "writers killed again and again, each beside one that goes on: nothing acknowledged is lost",
  async (c) => {
    const rounds = Number(process.env["HOLDFAST_ROUNDS"] ?? 5);
    c.t.diagnostic(`seed ${seed}, ${rounds} rounds (HOLDFAST_SEED and HOLDFAST_ROUNDS set them)`);
    for (let round = 0; round < rounds; round++) await killOneWriter(c, (seed * (round + 7)) % 600);
  },
);
