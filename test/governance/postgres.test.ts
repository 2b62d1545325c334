import { postgresBinaries, startPostgres } from "../peers/postgres.ts";
import { across } from "./across.ts";

const missing =
  postgresBinaries() === undefined && process.env["CI"] !== "true"
    ? "PostgreSQL is not installed"
    : undefined;

across("postgres", missing, async () => {
  const server = await startPostgres();
  const { port, pathname } = new URL(server.url);
  return {
    kind: "postgres",
    port: Number(port),
    at: (wire) => `postgres://holdfast@127.0.0.1:${wire ?? port}${pathname}`,
    stop: () => server.stop(),
  };
});
