export type { RevocationRecord, RevocationsOptions } from "./revocations.ts";
export { Revocations } from "./revocations.ts";
