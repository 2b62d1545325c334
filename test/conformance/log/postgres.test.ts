import { after, before, test } from "node:test";
import { postgresLog } from "../../../src/store/postgres/log.ts";
import { logConformance } from "../../../src/testing/log/index.ts";
import type { PostgresPeer } from "../../peers/postgres.ts";
import { postgresBinaries, startPostgres } from "../../peers/postgres.ts";

if (postgresBinaries() === undefined && process.env["CI"] !== "true") {
  test("postgres log", { skip: "PostgreSQL is not installed" });
} else {
  let peer: PostgresPeer;
  let places = 0;
  before(async () => {
    peer = await startPostgres();
  });
  after(() => peer.stop());

  logConformance({
    name: "postgres",
    strongest: "durable",
    async fresh() {
      const schema = `log_${++places}`;
      return {
        open: async () => postgresLog(peer.connection, { schema, timeoutMs: 20_000 }),
        worker: {
          module: new URL("./postgres-worker.js", import.meta.url).href,
          input: `${peer.url} ${schema}`,
        },
        async outage() {
          await peer.kill("SIGINT");
          return () => peer.start();
        },
        dispose: async () => undefined,
      };
    },
  });
}
