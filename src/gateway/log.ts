import type { DestinationStream, Logger } from "pino";
import { pino } from "pino";

import type { LogConfig } from "./config/index.ts";

export type Log = Logger;

/** The gateway's log, and a way to open its file again after it was rotated away. */
export interface OpenLog {
  readonly log: Log;
  reopen(): void;
  close(): void;
}

/** JSON lines on standard error, so that standard output is left to what people and scripts read. */
export function openLog(
  config: LogConfig,
  about: { readonly node: string; readonly version: string },
): OpenLog {
  const destination = pino.destination(
    config.file === undefined
      ? { fd: 2, sync: true }
      : { dest: config.file, append: true, mkdir: true, sync: true },
  );
  return {
    log: createLog(config.level ?? "info", about, destination),
    reopen: () => {
      if (config.file !== undefined) destination.reopen();
    },
    close: () => {
      if (config.file !== undefined) destination.end();
    },
  };
}

export function createLog(
  level: string,
  about: { readonly node: string; readonly version: string },
  destination: DestinationStream,
): Log {
  return pino(
    {
      level,
      base: { node: about.node, version: about.version, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED, censor: "[secret]" },
      serializers: { url: withoutQuery, err: errorOf },
    },
    destination,
  );
}

/** A query may hold a sign-in code. */
function withoutQuery(url: unknown): unknown {
  return typeof url === "string" ? url.replace(/\?.*$/s, "?…") : url;
}

/** An error of a driver may quote the address it was given, password included. */
function errorOf(error: unknown): unknown {
  if (!(error instanceof Error)) return withoutPassword(String(error));
  const serialized = pino.stdSerializers.err(error);
  return {
    ...serialized,
    message: withoutPassword(serialized.message),
    stack: withoutPassword(serialized.stack ?? ""),
  };
}

function withoutPassword(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/[^\s:@/]*):[^\s@/]+@/gi, "$1:[secret]@");
}

const NAMES = ["authorization", "cookie", "password", "secret", "token", '["set-cookie"]'];
const REDACTED = NAMES.flatMap((name) =>
  ["", "*.", "*.*."].map((depth) =>
    name.startsWith("[") ? `${depth.replace(/\.$/, "")}${name}` : `${depth}${name}`,
  ),
);
