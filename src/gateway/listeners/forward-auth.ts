import type { IncomingMessage, ServerResponse } from "node:http";

import { parseHandle } from "../../kernel/index.ts";
import type { FetchOpened, Sessions } from "../../mechanisms/web/index.ts";
import type { Json } from "../../kernel/index.ts";

export interface ForwardAuthOptions {
  /** Whether the caller's X-Forwarded-… headers are believed. */
  readonly trusted: boolean;
  /** Where a browser without a session is sent. */
  readonly signIn: string | undefined;
  readonly headers: Readonly<Record<"user" | "roles" | "session", string>>;
}

/**
 * The questions of a proxy, and of the people behind it:
 *
 *     any    /verify                200 with who it is, or 401, or 302 to the sign-in page
 *     GET    /session               the caller's session
 *     GET    /sessions              all of the caller's sessions
 *     DELETE /sessions/{handle}     ends one of them
 *     POST   /sessions/end-others   ends all but this one
 *     POST   /logout                ends this one
 */
export class ForwardAuth {
  readonly #sessions: Sessions;
  readonly #options: ForwardAuthOptions;

  constructor(sessions: Sessions, options: ForwardAuthOptions) {
    this.#sessions = sessions;
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const asked = this.#asRequest(request, path === "/verify");
    if (asked === undefined) return send(response, new Response(null, { status: 405 }));
    const address = request.socket.remoteAddress;
    const opened = await this.#sessions.open(asked, address === undefined ? {} : { address });
    const answer = opened.refused ?? (await this.#answer(asked, path, opened));
    await send(response, await opened.commit(answer));
  }

  async #answer(request: Request, path: string, opened: FetchOpened<Json>): Promise<Response> {
    const { session } = opened;
    if (path === "/verify") return this.#verified(request, opened);
    const route = `${request.method} ${path}`;
    if (route === "POST /logout") {
      await opened.visitor.logout();
      return new Response(null, { status: 204 });
    }
    if (!KNOWN.test(route)) return problem(404, "not-found", "There is nothing at this address.");
    if (session?.principal === undefined) return problem(401, "no-session", "Sign in first.");
    const { principal, handle } = session;
    if (route === "GET /session") {
      const { createdAt, authenticatedAt, roles, amr, aal } = session;
      return json(200, { principal, handle, createdAt, authenticatedAt, roles, amr, aal });
    }
    if (route === "GET /sessions") {
      const all = await this.#sessions.list(principal);
      return json(200, { sessions: all.map((one) => ({ ...one, current: one.handle === handle })) });
    }
    if (route === "POST /sessions/end-others") return json(200, { ended: await session.endOthers() });
    const wanted = parseHandle(path.slice("/sessions/".length));
    // Only one's own: somebody else's looks the same as none.
    const own =
      wanted !== undefined && (await this.#sessions.list(principal)).some((one) => one.handle === wanted);
    if (own && (await this.#sessions.end(wanted, { by: principal })))
      return new Response(null, { status: 204 });
    return problem(404, "not-found", "You have no such session.");
  }

  #verified(request: Request, { session }: FetchOpened<Json>): Response {
    const { headers: names, signIn, trusted } = this.#options;
    if (session?.principal === undefined) {
      const location = trusted && signIn !== undefined ? signInAddress(request, signIn) : undefined;
      if (location === undefined) return problem(401, "no-session", "Sign in first.");
      return new Response(null, { status: 302, headers: { location, "cache-control": "no-store" } });
    }
    const { principal, roles, handle = "" } = session;
    const headers = new Headers({ "cache-control": "no-store" });
    headers.set(names.user, asHeader(principal));
    headers.set(names.roles, roles.map(asHeader).join(","));
    headers.set(names.session, handle);
    return new Response(null, { status: 200, headers });
  }

  /** The request as the proxy got it, where it says so; `undefined` for a method that no application takes. */
  #asRequest(request: IncomingMessage, isQuestion: boolean): Request | undefined {
    const headers = new Headers();
    for (const [name, value] of Object.entries(request.headers))
      if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value);
    let method = request.method ?? "GET";
    if (this.#options.trusted) {
      const host = headers.get("x-forwarded-host");
      if (host !== null) headers.set("host", host);
      // A page of another site must not be able to send a POST through the proxy either.
      if (isQuestion)
        method = headers.get("x-forwarded-method") ?? headers.get("x-original-method") ?? method;
    }
    if (!METHODS.has(method)) return undefined;
    return new Request("http://localhost/", { method, headers });
  }
}

/** Only a browser that shows a page, through a proxy that passes the answer on (nginx' auth_request does not). */
function signInAddress(request: Request, signIn: string): string | undefined {
  const uri = request.headers.get("x-forwarded-uri");
  if (uri === null || !/\btext\/html\b/.test(request.headers.get("accept") ?? "")) return undefined;
  const host = request.headers.get("host") ?? "";
  const back = `${request.headers.get("x-forwarded-proto") ?? "https"}://${host}${uri}`;
  return `${signIn}${signIn.includes("?") ? "&" : "?"}rd=${encodeURIComponent(back)}`;
}

/** Header values are printable ASCII; what is not, and the comma that parts roles, is percent-encoded. */
function asHeader(value: string): string {
  return value.replace(/[^\x21-\x24\x26-\x2b\x2d-\x7e]+/g, (part) => encodeURIComponent(part));
}

function json(status: number, body: object): Response {
  const type = status >= 400 ? "application/problem+json" : "application/json";
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": type, "cache-control": "no-store" },
  });
}

/** RFC 9457. */
function problem(status: number, code: string, title: string): Response {
  return json(status, { type: "about:blank", title, status, code });
}

async function send(response: ServerResponse, answer: Response): Promise<void> {
  const { status, headers } = answer;
  const cookies = headers.getSetCookie();
  for (const [name, value] of headers) if (name !== "set-cookie") response.setHeader(name, value);
  if (cookies.length > 0) response.setHeader("set-cookie", cookies);
  const body = Buffer.from(await answer.arrayBuffer());
  if (status !== 204) response.setHeader("content-length", body.length);
  response.writeHead(status).end(body);
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
const KNOWN = /^(GET \/sessions?|POST \/sessions\/end-others|DELETE \/sessions\/[^/]+)$/;
