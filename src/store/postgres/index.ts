export { postgres } from "./store.ts";
export type { PostgresClient, PostgresPool, PostgresRow } from "./client.ts";
export type { PostgresConnection, PostgresOptions } from "./options.ts";
