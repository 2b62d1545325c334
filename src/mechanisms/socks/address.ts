/** Text of an IPv4 or IPv6 address (no zone, no brackets) to its 4 or 16 bytes; `undefined` when it is neither. */
export function parseAddress(text: string): Buffer | undefined {
  return text.includes(":") ? parseIPv6(text) : parseIPv4(text);
}

/** 4 or 16 bytes to text; IPv6 in the form of RFC 5952. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (isMapped(bytes)) return `::ffff:${bytes.subarray(12).join(".")}`;
  const groups: number[] = [];
  for (let at = 0; at < 16; at += 2) groups.push(((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0));
  const [start, length] = longestZeroRun(groups);
  const hex = groups.map((group) => group.toString(16));
  // RFC 5952 §4.2.2: one group of zeros alone is not shortened.
  if (length < 2) return hex.join(":");
  return `${hex.slice(0, start).join(":")}::${hex.slice(start + length).join(":")}`;
}

/** The IPv4 address within an IPv4-mapped IPv6 one (RFC 4291 §2.5.5.2); anything else as it is. */
export function unmapped(bytes: Buffer): Buffer {
  return bytes.length === 16 && isMapped(bytes) ? bytes.subarray(12) : bytes;
}

/** As `unmapped`, for text; a zone is cut off. What is no address is given back as it came. */
export function plainAddress(text: string): string {
  if (!text.includes(":")) return text;
  const bytes = parseAddress(text.split("%", 1)[0] ?? text);
  return bytes === undefined ? text : formatAddress(unmapped(bytes));
}

/** An address range: `10.0.0.0/8`, `fd00::/8`, or one address alone. */
export interface Range {
  readonly bytes: Buffer;
  readonly bits: number;
}

/** `undefined` when the text is not a range. */
export function parseRange(text: string): Range | undefined {
  const slash = text.indexOf("/");
  const bytes = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (bytes === undefined) return undefined;
  if (slash < 0) return { bytes, bits: bytes.length * 8 };
  const length = text.slice(slash + 1);
  const bits = /^\d{1,3}$/.test(length) ? Number(length) : Infinity;
  return bits <= bytes.length * 8 ? { bytes, bits } : undefined;
}

export function inRange(address: Buffer, range: Range): boolean {
  if (address.length !== range.bytes.length) return false;
  const whole = range.bits >> 3;
  for (let at = 0; at < whole; at++) if (address[at] !== range.bytes[at]) return false;
  const rest = range.bits & 7;
  if (rest === 0) return true;
  return (((address[whole] ?? 0) ^ (range.bytes[whole] ?? 0)) & (0xff << (8 - rest)) & 0xff) === 0;
}

/** Exactly four decimal numbers: `127.1`, `0177.0.0.1` and `2130706433` are names, whatever a resolver makes of them. */
function parseIPv4(text: string): Buffer | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  const bytes = Buffer.allocUnsafe(4);
  let part = 0;
  let value = -1;
  for (let at = 0; at <= text.length; at++) {
    const code = at === text.length ? DOT : text.charCodeAt(at);
    if (code === DOT) {
      if (value < 0 || part > 3) return undefined;
      bytes[part++] = value;
      value = -1;
      continue;
    }
    // A leading zero means octal to some readers, so it means nothing here.
    if (code < 48 || code > 57 || value === 0) return undefined;
    value = (value < 0 ? 0 : value * 10) + code - 48;
    if (value > 255) return undefined;
  }
  return part === 4 ? bytes : undefined;
}

function parseIPv6(text: string): Buffer | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const front = parseGroups(halves[0] ?? "", halves.length === 1);
  const back = halves.length === 2 ? parseGroups(halves[1] ?? "", true) : [];
  if (front === undefined || back === undefined) return undefined;
  const missing = 16 - front.length - back.length;
  // "::" stands for at least one group.
  if (halves.length === 1 ? missing !== 0 : missing < 2) return undefined;
  return Buffer.from([...front, ...Array<number>(missing).fill(0), ...back]);
}

/** Groups of four hex digits to bytes; the last may be an IPv4 address (RFC 4291 §2.2) when `last` is true. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (const [at, group] of groups.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const four = last && at === groups.length - 1 ? parseIPv4(group) : undefined;
    if (four === undefined) return undefined;
    bytes.push(...four);
  }
  return bytes;
}

const DOT = 46;

function isMapped(bytes: Uint8Array): boolean {
  for (let at = 0; at < 10; at++) if (bytes[at] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function longestZeroRun(groups: readonly number[]): [start: number, length: number] {
  let best: [number, number] = [0, 0];
  let start = 0;
  for (let at = 0; at <= groups.length; at++) {
    if (groups[at] === 0) continue;
    if (at - start > best[1]) best = [start, at - start];
    start = at + 1;
  }
  return best;
}
