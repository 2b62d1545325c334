/** The cookie a browser is told to keep. Attributes are RFC 6265bis §4.1. */
export interface SetCookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
  readonly domain?: string;
  /** Seconds; absent: until the browser closes; 0 or less: delete it. */
  readonly maxAge?: number;
  readonly secure: boolean;
  readonly httpOnly: boolean;
  readonly sameSite: "Strict" | "Lax" | "None";
  readonly partitioned: boolean;
}

/** RFC 6265bis §5.5: name and value together at most 4,096 octets, an attribute at most 1,024, a life of at most 400 days. */
export const COOKIE_LIMITS: Readonly<Record<"pairBytes" | "attributeBytes" | "maxAgeSeconds", number>> = {
  pairBytes: 4096,
  attributeBytes: 1024,
  maxAgeSeconds: 400 * 24 * 60 * 60,
};

/**
 * The value of the cookie `name` in a Cookie header. Absent when it is not there, and when it is there twice with
 * different values: then one of them was planted, and nobody can say which.
 */
export function readCookie(header: string, name: string): string | undefined {
  let value: string | undefined;
  let at = 0;
  while ((at = header.indexOf(name, at)) !== -1) {
    const after = at + name.length;
    if (header.charCodeAt(after) !== EQUALS || !startsPair(header, at)) {
      at = after;
      continue;
    }
    const semicolon = header.indexOf(";", after);
    const end = semicolon === -1 ? header.length : semicolon;
    const found = header.slice(after + 1, end).trimEnd();
    if (value !== undefined && value !== found) return undefined;
    value = found;
    at = end;
  }
  return value;
}

export function writeCookie(cookie: SetCookie): string {
  let text = `${cookie.name}=${cookie.value}; Path=${cookie.path}`;
  if (cookie.domain !== undefined) text += `; Domain=${cookie.domain}`;
  if (cookie.maxAge !== undefined) {
    text += `; Max-Age=${Math.min(Math.ceil(cookie.maxAge), COOKIE_LIMITS.maxAgeSeconds)}`;
  }
  if (cookie.secure) text += "; Secure";
  if (cookie.httpOnly) text += "; HttpOnly";
  text += `; SameSite=${cookie.sameSite}`;
  if (cookie.partitioned) text += "; Partitioned";
  return text;
}

/** RFC 6750 §2.1: the token of `Authorization: Bearer …`; absent for any other scheme. */
export function readBearer(header: string): string | undefined {
  return /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(header)?.[1];
}

/** True when the text at `at` begins a cookie pair rather than ending another cookie's name or value. */
function startsPair(header: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && (header.charCodeAt(before) === SPACE || header.charCodeAt(before) === TAB)) before--;
  return before < 0 || header.charCodeAt(before) === SEMICOLON;
}

const EQUALS = 0x3d;
const SEMICOLON = 0x3b;
const SPACE = 0x20;
const TAB = 0x09;
