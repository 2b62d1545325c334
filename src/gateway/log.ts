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
  const serializers = { url: withoutQuery, err: errorOf };
  return pino({ level, redact, serializers, base: null }, pino.destination({ fd: 2, sync: true }));
}

/** A query may hold a sign-in code. */
function withoutQuery(url: unknown): unknown {
  return typeof url === "string" ? url.replace(/\?.*$/s, "?…") : url;
}

/** An error of a driver may quote the address it was given, password included. */
function errorOf(error: unknown): unknown {
  if (!(error instanceof Error)) return withoutPassword(String(error));
  const { type, message, stack } = pino.stdSerializers.err(error);
  return { type, message: withoutPassword(message), stack: withoutPassword(stack ?? "") };
}

function withoutPassword(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/[^\s:@/]*):[^\s@/]+@/gi, "$1:[secret]@");
}
