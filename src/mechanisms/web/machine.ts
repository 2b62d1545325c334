/** The names under which logins are kept, and what brings browsers back to them. */
export const MECHANISM = "web";
export const REMEMBER = "web-remember";

/** What of a request decides whether it came from our own pages. Header values as sent; absent ones are undefined. */
export interface RequestOrigin {
  readonly method: string;
  readonly secFetchSite?: string | undefined;
  readonly origin?: string | undefined;
  readonly host?: string | undefined;
}

export type CrossSiteVerdict = "same-origin" | "trusted" | "not-a-browser" | "safe-method" | "cross-site";

/**
 * ASVS 3.5.1, 3.5.3: an unsafe request is taken only from our own origin. Fetch Metadata says so in every current browser;
 * older ones send Origin; what sends neither is no browser, so nobody's cookie jar is being abused.
 */
export function crossSiteVerdict(request: RequestOrigin, trusted: ReadonlySet<string>): CrossSiteVerdict {
  if (SAFE_METHODS.has(request.method)) return "safe-method";
  if (request.origin !== undefined && trusted.has(request.origin)) return "trusted";
  if (request.secFetchSite !== undefined) {
    return request.secFetchSite === "same-origin" || request.secFetchSite === "none"
      ? "same-origin"
      : "cross-site";
  }
  if (request.origin === undefined) return "not-a-browser";
  return hostOf(request.origin) === request.host && request.host !== undefined ? "same-origin" : "cross-site";
}

/** True when the proof of who this is, is recent enough for something sensitive. */
export function isFresh(authenticatedAt: number | undefined, maxAgeMs: number, now: number): boolean {
  return authenticatedAt !== undefined && now - authenticatedAt <= maxAgeMs;
}

/** Milliseconds of a span: a number is milliseconds already; a text is a number with ms, s, m, h or d. Absent: not a span. */
export function spanMs(span: string | number): number | undefined {
  if (typeof span === "number") return Number.isFinite(span) && span > 0 ? span : undefined;
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(span);
  const factor = match === null ? undefined : SPANS[match[2] ?? ""];
  return factor === undefined ? undefined : Number(match?.[1]) * factor || undefined;
}

function hostOf(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]?.toLowerCase();
}

/** RFC 9110 §9.2.1. */
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);

const SPANS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
