export { nearCache } from "./near-cache.ts";
export type { NearCacheOptions } from "./near-cache.ts";
