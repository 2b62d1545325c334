import type { Kernel, PrincipalLimit, SessionStore } from "../../kernel/index.ts";
import type { SetCookie } from "./codec.ts";
import { COOKIE_LIMITS } from "./codec.ts";
import { spanMs } from "./machine.ts";
import { assertOptions, invalid } from "./option-check.ts";

/** A span of time: milliseconds, or a text such as `"30m"`, `"12h"`, `"30d"`. */
export type Span = number | string;

export interface SessionsOptions {
  /** Where sessions are kept; LMDB in `./data` when neither this nor `kernel` is given. */
  readonly store?: SessionStore;
  /** A kernel shared with other mechanisms; it is then yours to start and close. */
  readonly kernel?: Kernel;
  /** Limits of NIST SP 800-63B for an assurance level; `aal2` when left out. */
  readonly preset?: keyof typeof presets;
  /** Without a request for this long the session ends; false: no idle limit. Overrides the preset. */
  readonly idle?: Span | false;
  /** The session ends after this long whatever happens. Overrides the preset. */
  readonly absolute?: Span;
  readonly limits?: PrincipalLimit;
  readonly cookie?: CookieOptions;
  readonly csrf?: CsrfOptions;
  /** Also take the secret from `Authorization: Bearer …` (RFC 6750), for clients without a cookie jar. */
  readonly bearer?: boolean;
  /** A new secret after this long, on a request that may set a cookie; left out: only on changes of privilege. */
  readonly rotateEvery?: Span;
  /** How long "remember me" lasts; left out: `establish({ remember: true })` is refused. */
  readonly remember?: Span;
  /** A Cookie header longer than this is answered 431. 8,192 bytes when left out. */
  readonly maxCookieHeaderBytes?: number;
  /**
   * The client's address when a proxy stands in front: the number of proxies whose X-Forwarded-For entries are
   * believed. 0 when left out: the address of the connection.
   */
  readonly trustedProxies?: number;
  /** Hears of faults in the background. */
  readonly onFault?: (error: unknown) => void;
}

export interface CookieOptions {
  /** `__Host-session` when left out. */
  readonly name?: string;
  readonly sameSite?: "Strict" | "Lax" | "None";
  /** CHIPS: the cookie is kept per top-level site. */
  readonly partitioned?: boolean;
  /** Kept when the browser closes, for the absolute limit; false: a cookie of the browser's session. */
  readonly persistent?: boolean;
  /** Anything weaker than a host-only, secure, script-proof cookie. Each needs `why`, which is logged nowhere but read by people. */
  readonly weaken?: {
    readonly why: string;
    readonly domain?: string;
    readonly path?: string;
    readonly insecure?: boolean;
    readonly scriptable?: boolean;
  };
}

export interface CsrfOptions {
  /** Origins besides our own whose pages may send unsafe requests: `https://app.example`. */
  readonly trustedOrigins?: readonly string[];
  /**
   * Requests are a reverse proxy's questions about others (nginx's auth_request, ForwardAuth, forward_auth): checked is
   * what `X-Forwarded-Method` and `X-Forwarded-Host` name, where the proxy says so, and the request's own unsafe method.
   */
  readonly forwarded?: boolean;
  /** Switches the check off; say why. */
  readonly off?: { readonly why: string };
}

/** NIST SP 800-63B-4 (draft of 2023) §4: reauthentication limits for each authenticator assurance level. */
export const presets: Readonly<
  Record<"aal1" | "aal2" | "aal3", { readonly idleMs?: number; readonly absoluteMs: number }>
> = {
  aal1: { absoluteMs: 30 * 86_400_000 },
  aal2: { absoluteMs: 12 * 3_600_000, idleMs: 30 * 60_000 },
  aal3: { absoluteMs: 12 * 3_600_000, idleMs: 15 * 60_000 },
};

/** Options after checking, in the units the code works with. */
export interface Settings {
  readonly idleMs: number | undefined;
  readonly absoluteMs: number;
  readonly limits: PrincipalLimit | undefined;
  readonly cookie: Omit<SetCookie, "value" | "maxAge">;
  readonly rememberCookie: Omit<SetCookie, "value" | "maxAge">;
  readonly persistent: boolean;
  readonly csrf: { readonly on: boolean; readonly forwarded: boolean; readonly trusted: ReadonlySet<string> };
  readonly bearer: boolean;
  readonly rotateEveryMs: number | undefined;
  readonly rememberMs: number | undefined;
  readonly maxCookieHeaderBytes: number;
  readonly trustedProxies: number;
}

/** @throws HoldfastError `invalid-argument`, naming the option and what it may be. */
export function settings(options: SessionsOptions): Settings {
  assertOptions(options);
  const preset = presets[options.preset ?? "aal2"];
  const absoluteMs = options.absolute === undefined ? preset.absoluteMs : span("absolute", options.absolute);
  const idleMs =
    options.idle === false
      ? undefined
      : options.idle === undefined
        ? preset.idleMs
        : span("idle", options.idle);
  const cookie = cookieSettings(options.cookie ?? {});
  return {
    idleMs,
    absoluteMs,
    limits: options.limits,
    cookie,
    rememberCookie: { ...cookie, name: `${cookie.name}-remember` },
    persistent: options.cookie?.persistent ?? true,
    csrf: {
      on: options.csrf?.off === undefined,
      forwarded: options.csrf?.forwarded ?? false,
      trusted: origins(options.csrf?.trustedOrigins ?? []),
    },
    bearer: options.bearer ?? false,
    rotateEveryMs: options.rotateEvery === undefined ? undefined : span("rotateEvery", options.rotateEvery),
    rememberMs: options.remember === undefined ? undefined : span("remember", options.remember),
    maxCookieHeaderBytes: options.maxCookieHeaderBytes ?? 8192,
    trustedProxies: options.trustedProxies ?? 0,
  };
}

/** @throws HoldfastError `invalid-argument` when it is none. */
export function span(name: string, value: Span): number {
  const ms = spanMs(value);
  if (ms === undefined)
    throw invalid(name, value, 'a positive number of milliseconds or a text such as "30m", "12h", "30d"');
  return ms;
}

function cookieSettings(options: CookieOptions): Settings["cookie"] {
  const { weaken } = options;
  const weak = weaken?.domain !== undefined || weaken?.insecure === true || (weaken?.path ?? "/") !== "/";
  const name = options.name ?? (weak ? "session" : "__Host-session");
  // RFC 6265bis §4.1.3.2: browsers drop a __Host- cookie with a Domain, without Secure, or with another path than /.
  if (/^__host-/i.test(name) && weak) {
    throw invalid("cookie.name", name, "a name without the __Host- prefix, since the cookie is weakened");
  }
  if (/^__secure-/i.test(name) && weaken?.insecure === true)
    throw invalid("cookie.name", name, "a name without the __Secure- prefix, since the cookie is not");
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/.test(name))
    throw invalid("cookie.name", name, "a token of RFC 9110");
  const sameSite = options.sameSite ?? "Lax";
  if (sameSite === "None" && weaken?.insecure === true)
    throw invalid("cookie.sameSite", sameSite, "Lax or Strict for an insecure cookie");
  if (options.partitioned === true && weaken?.insecure === true)
    throw invalid("cookie.partitioned", true, "left out for an insecure cookie: browsers drop it");
  if (weaken?.path !== undefined && !weaken.path.startsWith("/"))
    throw invalid("cookie.weaken.path", weaken.path, "a path that begins with /");
  if (weaken?.domain !== undefined && !/^\.?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/i.test(weaken.domain))
    throw invalid("cookie.weaken.domain", weaken.domain, "a host name such as example.org");
  for (const [key, value] of Object.entries({ domain: weaken?.domain, path: weaken?.path })) {
    if (value === undefined) continue;
    if (value.length > COOKIE_LIMITS.attributeBytes || /[;\p{Cc}]/u.test(value))
      throw invalid(`cookie.weaken.${key}`, value, "an attribute value of RFC 6265");
  }
  return {
    name,
    path: weaken?.path ?? "/",
    ...(weaken?.domain !== undefined && { domain: weaken.domain }),
    secure: weaken?.insecure !== true,
    httpOnly: weaken?.scriptable !== true,
    sameSite,
    partitioned: options.partitioned ?? false,
  };
}

function origins(list: readonly string[]): ReadonlySet<string> {
  for (const one of list) {
    if (!URL.canParse(one) || new URL(one).origin !== one)
      throw invalid("csrf.trustedOrigins", one, "an origin such as https://app.example");
  }
  return new Set(list);
}
