import { memoryLog } from "../../../src/store/memory/log.ts";
import { logConformance } from "../../../src/testing/log/index.ts";

logConformance({
  name: "memory",
  strongest: "memory",
  async fresh() {
    // What lives in one process has one handle; a closed one is of no use any more.
    const log = memoryLog();
    let given = 0;
    return {
      open: async () => (given++ < 3 ? log : memoryLog()),
      dispose: () => log.close(),
    };
  },
});
