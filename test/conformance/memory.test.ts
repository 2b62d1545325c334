import { memory } from "../../src/store/memory/index.ts";
import { storeConformance } from "../../src/testing/store/index.ts";
import type { SessionStore } from "../../src/kernel/store.ts";

storeConformance({
  name: "memory",
  async fresh() {
    // What lives in one process has one handle: the first caller's options make it.
    let store: SessionStore | undefined;
    return {
      open: async (options = {}) => (store ??= memory(options)),
      dispose: async () => store?.close(),
    };
  },
});
