export type * from "./config.ts";
export { spanMs } from "./config.ts";
export type { ConfigFault } from "./faults.ts";
export { ConfigError } from "./faults.ts";
export type { Loaded } from "./load.ts";
export { loadConfig, parseConfig } from "./load.ts";
export { ADMIN_PORT, isLoopback, LOOPBACK } from "./rules.ts";
export type { Schema } from "./schema.ts";
export { configSchema } from "./schema.ts";
