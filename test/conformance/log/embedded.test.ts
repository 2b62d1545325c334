import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { logConformance } from "../../../src/testing/log/index.ts";

logConformance({
  name: "embedded",
  strongest: "durable",
  async fresh() {
    const path = await mkdtemp(join(tmpdir(), "holdfast-log-"));
    return {
      // Small segments and much compaction, so that both happen in every case.
      open: async () => embeddedLog({ path, segmentBytes: 2_000, compactMs: 20 }),
      worker: { module: new URL("./embedded-worker.js", import.meta.url).href, input: path },
      dispose: () => rm(path, { recursive: true, force: true }),
    };
  },
});
