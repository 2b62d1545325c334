import { after, before, test } from "node:test";
import type { SessionStore } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { nearCache } from "../../src/store/near/index.ts";
import { postgres } from "../../src/store/postgres/index.ts";
import { storeConformance } from "../../src/testing/store/index.ts";
import type { PostgresPeer } from "../peers/postgres.ts";
import { postgresBinaries, startPostgres } from "../peers/postgres.ts";
import { delegate } from "../store/near/scripted-store.ts";

// One cache for all handles: what another cache has written is seen when the feed brings it, which is not at once,
// as the suite would have it. test/store/near tries that.

storeConformance({
  name: "near cache of memory",
  async fresh() {
    let store: SessionStore | undefined;
    return {
      open: async (options = {}) => (store ??= nearCache(memory(options))),
      dispose: async () => store?.close(),
    };
  },
});

if (postgresBinaries() === undefined && process.env["CI"] !== "true") {
  test("near cache of postgres", { skip: "PostgreSQL is not installed" });
} else {
  let peer: PostgresPeer;
  let places = 0;
  before(async () => {
    peer = await startPostgres();
  });
  after(() => peer.stop());

  storeConformance({
    name: "near cache of postgres",
    trials: 500,
    async fresh() {
      const schema = `near_${++places}`;
      let store: SessionStore | undefined;
      return {
        async open(options) {
          if (store !== undefined) return store;
          const far = postgres(peer.connection, { ...options, schema, timeoutMs: 20_000, connections: 6 });
          store = nearCache({ ...delegate(far), reach: "process" });
          return store;
        },
        dispose: async () => store?.close(),
      };
    },
  });
}
