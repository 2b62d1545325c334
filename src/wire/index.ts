export * from "./fault.ts";
export * from "./inbox.ts";
export * from "./reader.ts";
export * from "./writer.ts";
