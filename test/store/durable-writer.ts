// A process that writes to the LMDB folder it is given and has each write flushed, one after the other, for ever.
import { lmdb } from "../../src/store/lmdb/index.ts";

const store = lmdb({ path: String(process.argv[2]), timeoutMs: 60_000 });
for (let written = 0; ; written++) {
  const at = Date.now();
  await store.raiseEpoch("somebody", [], { at, phase: "governance", event: "epoch", principal: "somebody" });
  if (written === 0) process.stdout.write("writing\n");
}
