import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { lmdb } from "../../src/store/lmdb/index.ts";
import { storeConformance } from "../../src/testing/store/index.ts";

storeConformance({
  name: "lmdb",
  async fresh() {
    const path = await mkdtemp(join(tmpdir(), "holdfast-lmdb-"));
    return {
      open: async (options = {}) => lmdb({ path, timeoutMs: 60_000, ...options }),
      worker: { module: new URL("./lmdb-worker.js", import.meta.url).href, input: { path } },
      dispose: () => rm(path, { recursive: true, force: true }),
    };
  },
});
