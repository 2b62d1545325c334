/** What OpenSSL's form of a session (`SSL_SESSION_ASN1`) says at its front. */
export interface SessionState {
  /** 0x0303 or 0x0304. */
  readonly version: number;
  /** Empty where a ticket stands for the session. */
  readonly sessionId: Buffer;
}

/** SEQUENCE { version INTEGER, ssl_version INTEGER, cipher OCTET STRING, session_id OCTET STRING, … } */
export function decodeSessionState(der: Buffer): SessionState | undefined {
  const outer = element(der, 0, SEQUENCE);
  if (outer === undefined) return undefined;
  const structure = element(der, outer.from, INTEGER);
  const version = structure && element(der, structure.end, INTEGER);
  const cipher = version && element(der, version.end, OCTET_STRING);
  const sessionId = cipher && element(der, cipher.end, OCTET_STRING);
  if (version === undefined || sessionId === undefined) return undefined;
  if (version.end - version.from !== 2) return undefined;
  return { version: der.readUInt16BE(version.from), sessionId: der.subarray(sessionId.from, sessionId.end) };
}

function element(der: Buffer, at: number, tag: number): { from: number; end: number } | undefined {
  if (der[at] !== tag) return undefined;
  const first = der[at + 1] ?? 0xff;
  const long = first >= 0x80 ? first & 0x7f : 0;
  if (long > 3 || at + 2 + long > der.length) return undefined;
  const length = long === 0 ? first : der.readUIntBE(at + 2, long);
  const from = at + 2 + long;
  return from + length > der.length ? undefined : { from, end: from + length };
}

const INTEGER = 2;
const OCTET_STRING = 4;
const SEQUENCE = 0x30;
