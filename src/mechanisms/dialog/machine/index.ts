export * from "./agreement.ts";
export * from "./apply.ts";
export * from "./events.ts";
export { DialogMachine } from "./machine.ts";
export { decodeMark, encodeMark } from "./mark.ts";
export type { MachineOptions } from "./options.ts";
export type { Entry } from "./outbox.ts";
export * from "./rules.ts";
export * from "./state.ts";
