import type { IncomingMessage, ServerResponse } from "node:http";
import type { Sessions, SessionsOptions, WebSession } from "../../mechanisms/web/index.ts";
import { createSessions } from "../../mechanisms/web/index.ts";
import { listenOn } from "../../transport/listen.ts";
import type { ListenerConfig, TlsConfig } from "../config.ts";
import { stopServer } from "../http-server.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { addressOf } from "../listener.ts";
import { spanSchema, tlsSchema } from "../schema.ts";

/**
 * Says to a reverse proxy who is behind a request: `GET /verify` for nginx's auth_request, Traefik's ForwardAuth and
 * Caddy's forward_auth. `POST /logout` ends the session, `GET /sessions` lists the user's own.
 */
export const web: ListenerKind = {
  defaultPort: 7080,
  schema: {
    properties: {
      tls: tlsSchema,
      preset: {
        enum: ["aal1", "aal2", "aal3"],
        description: "Limits of NIST SP 800-63B; aal2 when left out.",
      },
      idle: spanSchema,
      absolute: spanSchema,
      cookie: {
        type: "string",
        minLength: 1,
        description: "The cookie's name; __Host-session when left out.",
      },
      bearer: { type: "boolean", description: "Also take Authorization: Bearer." },
      "trusted-origins": { type: "array", items: { type: "string" } },
      "trusted-proxies": { type: "integer", minimum: 0, maximum: 16 },
    },
  },
  async listen(config, context): Promise<Listener> {
    const sessions = createSessions(optionsOf(config, context));
    let open = 0;
    const tls = config["tls"] as TlsConfig | undefined;
    const name = config.name ?? "web";
    const server = context.tls.httpServer(`listener ${name}`, tls, (request, response) => {
      open++;
      response.on("close", () => open--);
      answer(sessions, request, response).catch((error: unknown) => {
        context.log.error({ err: error }, "a request failed");
        if (response.headersSent) response.destroy();
        else send(response, 500, { code: "internal" });
      });
    });
    const { host = "127.0.0.1", port = web.defaultPort } = config;
    await listenOn(server, { host, port });
    return {
      name,
      mechanism: "web",
      address: addressOf(tls === undefined ? "http" : "https", server),
      open: () => open,
      drain: (deadlineAt) => stopServer(server, deadlineAt - context.kernel.clock.now()),
      close: () => stopServer(server, 0),
    };
  },
};

interface WebOptions {
  readonly preset?: "aal1" | "aal2" | "aal3";
  readonly idle?: string;
  readonly absolute?: string;
  readonly cookie?: string;
  readonly bearer?: boolean;
}

function optionsOf(config: ListenerConfig, { kernel, limit }: ListenerContext): SessionsOptions {
  // The schema has checked each of these.
  const { preset, idle, absolute, cookie, bearer } = config as ListenerConfig & WebOptions;
  return {
    kernel,
    ...(limit !== undefined && { limits: limit }),
    ...(preset !== undefined && { preset }),
    ...(idle !== undefined && { idle }),
    ...(absolute !== undefined && { absolute }),
    ...(cookie !== undefined && { cookie: { name: cookie } }),
    ...(bearer !== undefined && { bearer }),
    csrf: {
      forwarded: true,
      trustedOrigins: (config["trusted-origins"] as string[] | undefined) ?? [],
    },
    trustedProxies: (config["trusted-proxies"] as number | undefined) ?? 0,
  };
}

async function answer(sessions: Sessions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const session = await sessions.node(request, response);
  if (session === undefined) return;
  const path = (request.url ?? "/").split("?", 1)[0];
  if (path === "/verify") return verify(session, response);
  if (path === "/logout" && request.method === "POST") {
    await session.logout();
    return send(response, 200, { ended: true });
  }
  if (path === "/sessions" && request.method === "GET") {
    if (session.principal === undefined) return send(response, 401, { code: "no-session" });
    return send(response, 200, { current: session.handle, sessions: await sessions.list(session.principal) });
  }
  send(response, 404, { code: "not-found" });
}

/** Header values are what a proxy passes on, so nothing of a principal's name may end a line. */
function verify(session: WebSession, response: ServerResponse): void {
  if (session.principal === undefined || session.handle === undefined)
    return send(response, 401, { code: "no-session" });
  response.setHeader("x-holdfast-principal", encodeURIComponent(session.principal));
  response.setHeader("x-holdfast-session", session.handle);
  if (session.roles.length > 0)
    response.setHeader("x-holdfast-roles", session.roles.map(encodeURIComponent).join(","));
  if (session.authenticatedAt !== undefined)
    response.setHeader("x-holdfast-authenticated-at", new Date(session.authenticatedAt).toISOString());
  send(response, 200, { principal: session.principal, session: session.handle });
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}
