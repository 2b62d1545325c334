import type { IncomingMessage, ServerResponse } from "node:http";
import { FeedServer } from "./feed.ts";
import { ProblemError, problemOf, sendJson } from "./http.ts";
import { LiveView } from "./live-view.ts";
import { Page } from "./page.ts";
import type { Console, ConsoleParts } from "./parts.ts";
import type { Route } from "./routes.ts";
import { routes } from "./routes.ts";
import type { Role } from "./sign-in.ts";
import { SignIn } from "./sign-in.ts";
import { Tally } from "./tally.ts";

export type { Console, ConsoleLog, ConsoleParts, CreateConsole, ListenerView } from "./parts.ts";
export type { AdminFile } from "./admin-file.ts";
export { readAdminFile, writeAdminFile } from "./admin-file.ts";
export type * from "./contract.ts";

/** The admin API and the console's page. The gateway owns the server and hands every other request here. */
export function createConsole(parts: ConsoleParts): Console & ConsoleTokens {
  return new AdminConsole(parts);
}

/** For the command line on the same machine. */
export interface ConsoleTokens {
  /** A bearer token of 30 days; `name` is what the journal says of who did something with it. */
  token(role: Role, name: string): Promise<string>;
}

class AdminConsole implements Console, ConsoleTokens {
  readonly #parts: ConsoleParts;
  readonly #signIn: SignIn;
  readonly #view: LiveView;
  readonly #tally: Tally;
  readonly #feed: FeedServer;
  readonly #page = new Page();
  readonly #routes: readonly (Route & { readonly segments: readonly string[] })[];

  constructor(parts: ConsoleParts) {
    this.#parts = parts;
    this.#signIn = new SignIn(parts);
    this.#view = new LiveView(parts.kernel);
    this.#tally = new Tally(parts.kernel);
    this.#feed = new FeedServer(parts.kernel, this.#view, parts.revocations);
    const all = routes({ ...parts, view: this.#view, tally: this.#tally, signIn: this.#signIn });
    this.#routes = all.map((route) => ({ ...route, segments: route.path.split("/") }));
  }

  signInLink(): Promise<string> {
    return this.#signIn.link("operator");
  }

  token(role: Role, name: string): Promise<string> {
    return this.#signIn.token(role, name);
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response);
    } catch (error) {
      const problem = problemOf(error);
      if (problem.status >= 500)
        this.#parts.log.error({ err: error, url: request.url }, "an admin request failed");
      if (response.headersSent) response.destroy();
      else sendJson(response, problem.status, problem);
    }
  }

  async close(): Promise<void> {
    this.#feed.close();
    this.#view.close();
    this.#tally.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("content-security-policy", CSP);
    response.setHeader("x-content-type-options", "nosniff");
    response.setHeader("referrer-policy", "no-referrer");
    const url = new URL(request.url ?? "/", this.#parts.origin);
    const session = await this.#signIn.sessions.node(request, response);
    if (session === undefined) return;
    if (url.pathname === "/sign-in" && request.method === "GET" && url.searchParams.has("code")) {
      const role = await this.#signIn.redeem(session, url.searchParams.get("code") ?? "");
      response.writeHead(303, { location: role === undefined ? "/sign-in?failed=1" : "/" });
      response.end();
      return;
    }
    if (url.pathname === "/sign-out" && request.method === "POST") {
      await session.logout();
      response.writeHead(204).end();
      return;
    }
    if (!url.pathname.startsWith("/api/")) return this.#sendPage(request, response, url);
    const me = this.#signIn.me(session);
    if (me === undefined)
      throw new ProblemError(401, "signed-out", "Sign in first: the gateway prints a link when it starts.");
    if (url.pathname === "/api/feed" && request.method === "GET") return this.#feed.serve(request, response);
    const { route, params } = this.#find(request.method ?? "GET", url.pathname);
    if (route.role === "operator" && me.role !== "operator") {
      throw new ProblemError(403, "forbidden", "A viewer may look; this needs an operator.");
    }
    const { status, body } = await route.run({ request, url, params, me });
    sendJson(response, status, body);
  }

  #find(method: string, path: string): { route: Route; params: Record<string, string> } {
    const parts = path.split("/");
    let allowed = "";
    for (const route of this.#routes) {
      const params = matched(route.segments, parts);
      if (params === undefined) continue;
      if (route.method === method) return { route, params };
      allowed += ` ${route.method}`;
    }
    if (allowed !== "") throw new ProblemError(405, "method-not-allowed", `This address takes${allowed}.`);
    throw new ProblemError(404, "not-found", "There is nothing at this address.");
  }

  #sendPage(request: IncomingMessage, response: ServerResponse, url: URL): void {
    if (request.method !== "GET" && request.method !== "HEAD")
      throw new ProblemError(405, "method-not-allowed", "This address takes GET.");
    if (this.#page.send(url.pathname, String(request.headers["accept-encoding"] ?? ""), response)) return;
    if (this.#page.built) throw new ProblemError(404, "not-found", "There is nothing at this address.");
    throw new ProblemError(
      503,
      "not-built",
      "The console's page is not built; npm run build does that. The API works.",
    );
  }
}

function matched(segments: readonly string[], parts: readonly string[]): Record<string, string> | undefined {
  if (segments.length !== parts.length) return undefined;
  const params: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    const part = parts[i] ?? "";
    if (segment.startsWith("{")) {
      try {
        params[segment.slice(1, -1)] = decodeURIComponent(part);
      } catch {
        return undefined;
      }
    } else if (segment !== part) return undefined;
  }
  return params;
}

const CSP =
  "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
