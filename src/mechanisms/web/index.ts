export { readBearer, readCookie } from "./codec.ts";
export type { Exchange, Refusal } from "./exchange.ts";
export type { CookieOptions, CsrfOptions, SessionsOptions, Span } from "./options.ts";
export { presets } from "./options.ts";
export type { Login, StepUp, WebSession } from "./session.ts";
export type { Sessions, SessionSummary } from "./sessions.ts";
export { createSessions } from "./sessions.ts";
export type { FetchOpened } from "./adapters/fetch.ts";
export { spanMs } from "./machine.ts";
