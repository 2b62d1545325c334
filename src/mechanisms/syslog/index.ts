export type { StructuredElement, SyslogMessage } from "./codec.ts";
export { FACILITIES, parseMessage, SEVERITIES } from "./codec.ts";
export { MessageSplitter } from "./framing.ts";
export type { SyslogCounts, SyslogListenOptions, SyslogOptions, SyslogOrigin } from "./server.ts";
export { createSyslog, Syslog } from "./server.ts";
