import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { across } from "./across.ts";

across("lmdb", undefined, async () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-governance-"));
  return {
    kind: "lmdb",
    at: () => folder,
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  };
});
