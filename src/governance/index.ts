export type { RevocationRecord } from "./revocations.ts";
export { Revocations } from "./revocations.ts";
