import type { SessionsOptions } from "../../mechanisms/web/index.ts";
import { createSessions } from "../../mechanisms/web/index.ts";
import type { ListenerConfig, Span, TlsConfig } from "../config/index.ts";
import { described, listenerSchema, object, span, text, tls } from "../config/schema.ts";
import { HttpServer } from "../http-server.ts";
import type { Listener, ListenerKind } from "./kind.ts";
import { listenerKind } from "./kind.ts";
import { ForwardAuth } from "./forward-auth.ts";

export interface WebListenerConfig extends ListenerConfig {
  readonly tls?: TlsConfig;
  readonly preset?: "aal1" | "aal2" | "aal3";
  readonly idle?: Span | false;
  readonly absolute?: Span;
  readonly rotateEvery?: Span;
  readonly remember?: Span;
  readonly cookie?: { readonly name?: string; readonly domain?: string; readonly why?: string };
  readonly trustedProxies?: number;
  readonly trustedOrigins?: readonly string[];
  readonly signIn?: string;
  readonly headers?: Partial<Record<"user" | "roles" | "session", string>>;
}

const HEADER = { type: "string", pattern: "^[A-Za-z0-9-]{1,64}$", title: "the name of a header" };

/**
 * Web sessions for applications behind a proxy: the proxy asks here whether a request has a session, and passes on who
 * it is (nginx `auth_request`, Traefik `ForwardAuth`, Caddy `forward_auth`).
 */
export const web: ListenerKind = listenerKind<WebListenerConfig>({
  mechanism: "web",
  schema: listenerSchema("web", {
    tls,
    preset: described({ enum: ["aal1", "aal2", "aal3"] }, "Limits of NIST SP 800-63B; `aal2` unless given."),
    idle: described(
      { anyOf: [span, { const: false }], title: "a span, or false" },
      "A session ends after this long without a request; overrides the preset.",
    ),
    absolute: described(span, "A session ends after this long whatever happens; overrides the preset."),
    rotateEvery: described(span, "A session's secret is replaced after this long."),
    remember: described(span, "How long a browser is remembered that asked for it; not at all unless given."),
    cookie: described(
      object({
        name: described(text, "`__Host-session` unless given."),
        domain: described(text, "Shared by the subdomains of this; weaker than a host's own cookie."),
        why: described(text, "Why the cookie is weakened; needed with `domain`."),
      }),
      "As the application sets it that signs people in.",
    ),
    trustedProxies: described(
      { type: "integer", minimum: 0, title: "a whole number" },
      "Proxies in front, whose X-Forwarded-… headers are believed; 1 unless given.",
    ),
    trustedOrigins: described(
      {
        type: "array",
        title: "a list of origins",
        items: { type: "string", pattern: "^https?://[^/]+$", title: "an origin" },
      },
      "Other origins whose pages may send requests that change something.",
    ),
    signIn: described(
      { type: "string", pattern: "^(https?:/)?/", title: "an address" },
      "Where a browser without a session is sent, with its address as `rd`; 401 unless given.",
    ),
    headers: described(
      object({
        user: described(HEADER, "`remote-user` unless given."),
        roles: described(HEADER, "`remote-groups` unless given; roles, with commas between."),
        session: described(HEADER, "`x-session` unless given; the session's handle."),
      }),
      "Under which names the identity is told to the proxy.",
    ),
  }),
  async open(config, parts): Promise<Listener> {
    const sessions = createSessions({ kernel: parts.kernel, ...sessionsOptions(config) });
    const auth = new ForwardAuth(sessions, {
      trusted: (config.trustedProxies ?? 1) > 0,
      signIn: config.signIn,
      headers: { user: "remote-user", roles: "remote-groups", session: "x-session", ...config.headers },
    });
    const certificates = config.tls === undefined ? undefined : parts.certificates(config.tls);
    const server = await HttpServer.listen({
      host: parts.host,
      port: parts.port ?? 7080,
      certificates,
      handle: (request, response) => auth.handle(request, response),
      answered: (method, status, seconds) => parts.answered(method, status, seconds),
      onFault: (error) => parts.log.error({ err: error }, "a request failed"),
    });
    return {
      name: parts.name,
      mechanism: "web",
      address: server.origin,
      open: () => server.open,
      drain: (deadlineAt) => server.drain(Math.max(0, deadlineAt - parts.kernel.clock.now())),
      close: async () => server.close(),
    };
  },
});

function sessionsOptions(config: WebListenerConfig): SessionsOptions {
  const { preset, idle, absolute, rotateEvery, remember, cookie = {}, trustedOrigins } = config;
  const { name, domain, why = "" } = cookie;
  return {
    bearer: true,
    trustedProxies: config.trustedProxies ?? 1,
    cookie: { ...(name !== undefined && { name }), ...(domain !== undefined && { weaken: { why, domain } }) },
    ...(preset !== undefined && { preset }),
    ...(idle !== undefined && { idle }),
    ...(absolute !== undefined && { absolute }),
    ...(rotateEvery !== undefined && { rotateEvery }),
    ...(remember !== undefined && { remember }),
    ...(trustedOrigins !== undefined && { csrf: { trustedOrigins } }),
  };
}
