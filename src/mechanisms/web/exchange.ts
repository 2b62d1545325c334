/**
 * What a web session needs of the HTTP exchange it is part of, whatever server carries it. Adapters implement it over
 * their own request and response.
 */
export interface Exchange {
  readonly method: string;
  /** A request header by its lower-case name. */
  header(
    name:
      | "cookie"
      | "authorization"
      | "origin"
      | "host"
      | "sec-fetch-site"
      | "user-agent"
      | "x-forwarded-method"
      | "x-forwarded-host"
      | "x-forwarded-for",
  ): string | undefined;
  /** The address of the connection, if the server knows it. */
  readonly address: string | undefined;
  /** True once the response's head has gone out and can take no more headers. */
  readonly headSent: boolean;
  /** Puts one more Set-Cookie line on the response, or replaces the one of the same name. */
  setCookie(name: string, line: string): void;
  /** Sets a response header where none is set. */
  setHeader(name: "cache-control" | "clear-site-data", value: string): void;
  /** Keeps the response back until `work` has settled. */
  holdFor(work: Promise<unknown>): void;
}

/** An answer that takes the place of the application's: the request must not reach it. */
export interface Refusal {
  readonly status: 401 | 403 | 431 | 503;
  readonly code: "cross-site" | "not-fresh" | "no-session" | "header-too-large" | "store-unavailable";
  readonly message: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The body of a refusal, RFC 9457. */
export function problem(refusal: Refusal): string {
  return JSON.stringify({
    type: "about:blank",
    title: refusal.message,
    status: refusal.status,
    code: refusal.code,
  });
}

export function refusalHeaders(refusal: Refusal): Record<string, string> {
  return { "content-type": "application/problem+json", "cache-control": "no-store", ...refusal.headers };
}
