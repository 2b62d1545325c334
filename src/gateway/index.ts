export type { Config, ConfigFault, ListenerConfig, Loaded } from "./config/index.ts";
export { ConfigError, loadConfig, parseConfig } from "./config/index.ts";
export { Gateway, up } from "./gateway.ts";
export type { Listener, ListenerKind, ListenerParts } from "./listeners/index.ts";
export { schema } from "./listeners/index.ts";
export { sampleConfig } from "./sample.ts";
