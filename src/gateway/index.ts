export type { Config, ListenerConfig, StoreConfig } from "./config.ts";
export { ConfigError, parseConfig, publishedSchema, readConfig } from "./config.ts";
export type { Gateway, GatewayOptions } from "./gateway.ts";
export { up } from "./gateway.ts";
export type { Log } from "./log.ts";
export { sampleConfig } from "./sample.ts";
