import type { Fault } from "../../wire/fault.ts";
import { fault } from "../../wire/fault.ts";

/** One syslog message. What RFC 5424 calls NILVALUE is absent. */
export interface SyslogMessage {
  readonly format: "rfc5424" | "rfc3164";
  readonly facility: number;
  readonly severity: number;
  /** As it was written: RFC 3339, to the microsecond at most; of RFC 3164 without a year. */
  readonly timestamp?: string;
  readonly host?: string;
  readonly app?: string;
  readonly process?: string;
  readonly messageId?: string;
  readonly structured: readonly StructuredElement[];
  readonly text: string;
}

export interface StructuredElement {
  readonly id: string;
  /** A name may come more than once. */
  readonly params: readonly (readonly [name: string, value: string])[];
}

/** RFC 5424 §6.2.1, in the order of their numbers. */
export const SEVERITIES: readonly string[] = "emerg alert crit err warning notice info debug".split(" ");
export const FACILITIES: readonly string[] =
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 local1 local2 local3 local4 local5 local6 local7".split(
    " ",
  );

/** A message of RFC 5424, or the older form of RFC 3164 where the version is not 1. */
export function parseMessage(bytes: Uint8Array): SyslogMessage | Fault {
  const cursor = new Cursor(bytes);
  const pri = cursor.match(/^<(0|[1-9]\d{0,2})>/);
  if (pri === undefined || Number(pri[1]) > 191)
    return fault("malformed", 0, "a message begins with <0> to <191>");
  const priority = Number(pri[1]);
  const kind = { facility: priority >> 3, severity: priority & 7 };
  return cursor.match(/^1 /) === undefined ? parseBsd(cursor, kind) : parseRfc5424(cursor, kind);
}

type Kind = Pick<SyslogMessage, "facility" | "severity">;

// ── RFC 5424 §6 ─────────────────────────────────────────────────────────────────────────────────────────────────

function parseRfc5424(cursor: Cursor, kind: Kind): SyslogMessage | Fault {
  const fields: Partial<Record<"timestamp" | "host" | "app" | "process" | "messageId", string>> = {};
  for (const [name, longest] of HEADER) {
    const value = cursor.match(/^([!-~]{1,255}) /)?.[1];
    if (value === undefined || value.length > longest)
      return fault("malformed", cursor.at, `${name} is 1 to ${longest} printable characters and a space`);
    if (value === "-") continue;
    if (name === "timestamp" && !isTimestamp(value))
      return fault("malformed", cursor.at, `${value.slice(0, 40)} is not a timestamp`);
    fields[name] = value;
  }
  const structured: StructuredElement[] = [];
  if (cursor.match(/^-/) === undefined) {
    for (;;) {
      const element = cursor.peek() === "[" ? parseElement(cursor) : undefined;
      if (element === undefined) break;
      if ("fault" in element) return element;
      // RFC 5424 §6.3.2: the same SD-ID must not exist more than once.
      if (structured.some(({ id }) => id === element.id))
        return fault("malformed", cursor.at, `${element.id} comes twice`);
      structured.push(element);
    }
    if (structured.length === 0) return fault("malformed", cursor.at, "structured data, or - for none");
  }
  if (cursor.match(/^ /) === undefined && !cursor.done)
    return fault("malformed", cursor.at, "a space between structured data and message");
  return { format: "rfc5424", ...kind, ...fields, structured, text: cursor.rest() };
}

const HEADER = [
  ["timestamp", 32],
  ["host", 255],
  ["app", 48],
  ["process", 128],
  ["messageId", 32],
] as const;

function parseElement(cursor: Cursor): StructuredElement | Fault {
  const id = cursor.match(/^\[([!#-<>-\\^-~]{1,32})/)?.[1];
  if (id === undefined) return fault("malformed", cursor.at, "an SD-ID of 1 to 32 characters");
  const params: [string, string][] = [];
  for (;;) {
    if (cursor.match(/^\]/) !== undefined) return { id, params };
    const name = cursor.match(/^ ([!#-<>-\\^-~]{1,32})="/)?.[1];
    if (name === undefined) return fault("malformed", cursor.at, "a parameter, or the end of its element");
    const value = cursor.quoted();
    if (value === undefined) return fault("malformed", cursor.at, `the value of ${name} has no end`);
    params.push([name, value]);
  }
}

/** RFC 5424 §6.2.3: RFC 3339 with capital T and Z, at most microseconds, and no leap seconds. */
function isTimestamp(text: string): boolean {
  const form =
    /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?(?:Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/.exec(text);
  if (form === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = form.slice(1, 7).map(Number);
  const longest = [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= longest && hour < 24 && minute < 60 && second < 60;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

// ── RFC 3164 §4: whatever of it is there ────────────────────────────────────────────────────────────────────────

function parseBsd(cursor: Cursor, kind: Kind): SyslogMessage {
  const header = cursor.match(
    /^((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d) ([!-~]{1,255}) /,
  );
  const tag =
    header === undefined ? undefined : cursor.match(/^([!-9;-Z\\^-~]{1,48})(?:\[([!-\\^-~]{1,128})\])?: ?/);
  return {
    format: "rfc3164",
    ...kind,
    ...(header !== undefined && { timestamp: header[1] ?? "", host: header[2] ?? "" }),
    ...(tag?.[1] !== undefined && { app: tag[1] }),
    ...(tag?.[2] !== undefined && { process: tag[2] }),
    structured: [],
    text: cursor.rest(),
  };
}

/** Reads ASCII up to the first thing that is not, and UTF-8 where the grammar has it. */
class Cursor {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  peek(): string {
    return this.#bytes.toString("latin1", this.at, this.at + 1);
  }

  /** What `pattern` finds right here; the cursor is behind it then. */
  match(pattern: RegExp): RegExpExecArray | undefined {
    const found = pattern.exec(this.#bytes.toString("latin1", this.at, this.at + LONGEST_FIELD));
    if (found === null) return undefined;
    this.at += found[0].length;
    return found;
  }

  /** Up to the closing quote; RFC 5424 §6.3.3: `"`, `\` and `]` are escaped, and before anything else `\` is itself. */
  quoted(): string | undefined {
    const bytes = this.#bytes;
    for (let at = this.at; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === 0x5c && ESCAPED.has(bytes[at + 1] ?? 0)) at++;
      else if (byte === 0x5d) return undefined;
      else if (byte === 0x22) {
        const value = decoder.decode(bytes.subarray(this.at, at)).replaceAll(/\\(["\\\]])/g, "$1");
        this.at = at + 1;
        return value;
      }
    }
    return undefined;
  }

  /** RFC 5424 §6.4: UTF-8, with a byte order mark or without. What is not UTF-8 is shown as what it is not. */
  rest(): string {
    const rest = this.#bytes.subarray(this.at);
    this.at = this.#bytes.length;
    return decoder.decode(rest);
  }
}

const ESCAPED: ReadonlySet<number> = new Set([0x22, 0x5c, 0x5d]);
const LONGEST_FIELD = 320;
/** Takes a byte order mark away, and puts U+FFFD where there is no UTF-8. */
const decoder = new TextDecoder();
