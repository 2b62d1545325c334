import { after, before, test } from "node:test";
import { postgres } from "../../src/store/postgres/index.ts";
import { storeConformance } from "../../src/testing/store/index.ts";
import type { PostgresPeer } from "../peers/postgres.ts";
import { postgresBinaries, startPostgres } from "../peers/postgres.ts";

/** The suite on a server of its own, each race run `trials` times. */
export function postgresConformance(trials: number): void {
  if (postgresBinaries() === undefined && process.env["CI"] !== "true") {
    test("postgres", { skip: "PostgreSQL is not installed" });
    return;
  }
  let peer: PostgresPeer;
  let places = 0;
  before(async () => {
    peer = await startPostgres();
  });
  after(() => peer.stop());

  storeConformance({
    name: "postgres",
    trials,
    async fresh() {
      const schema = `place_${++places}`;
      let down = false;
      return {
        // A busy machine gets time; what an outage costs is tried with it.
        open: async (options) =>
          postgres(peer.connection, { ...options, schema, timeoutMs: 20_000, connections: 6 }),
        worker: {
          module: new URL("./postgres-worker.js", import.meta.url).href,
          input: { url: peer.url, schema },
        },
        async outage() {
          down = true;
          await peer.kill("SIGINT");
          return async () => {
            await peer.start();
            down = false;
          };
        },
        async dispose() {
          if (down) await peer.start();
        },
      };
    },
  });
}
