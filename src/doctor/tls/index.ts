export { named, wayName } from "./findings.ts";
export type { InspectOptions, TlsInspection, Trial, Way } from "./inspect.ts";
export { inspectTls } from "./inspect.ts";
export type { Spread } from "./tickets.ts";
