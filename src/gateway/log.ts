import { pino } from "pino";

/** pino's calling convention; the rest of the gateway needs no more of it. */
export interface Log {
  info(about: object, message: string): void;
  warn(about: object, message: string): void;
  error(about: object, message: string): void;
  debug(about: object, message: string): void;
  child(bindings: object): Log;
}

/** JSON lines on standard error, so that standard output is for what a person or a script waits for. */
export function createLog(level: string): Log {
  const redact = [
    "req.headers.cookie",
    "req.headers.authorization",
    "password",
    "token",
    "secret",
    "*.password",
    "*.token",
    "*.secret",
  ];
  return pino({ level, redact, base: null }, pino.destination({ fd: 2, sync: true }));
}
