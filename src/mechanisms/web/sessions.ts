import type {
  Handle,
  Json,
  Kernel,
  MaybePromise,
  Peer,
  Revocation,
  Selector,
  SessionRecord,
} from "../../kernel/index.ts";
import { createKernel, HoldfastError } from "../../kernel/index.ts";
import type { ExpressMiddleware } from "./adapters/express.ts";
import { express } from "./adapters/express.ts";
import type { FastifyPlugin } from "./adapters/fastify.ts";
import { fastify } from "./adapters/fastify.ts";
import type { FetchOpened } from "./adapters/fetch.ts";
import { openFetch } from "./adapters/fetch.ts";
import type { HonoMiddleware } from "./adapters/hono.ts";
import { hono } from "./adapters/hono.ts";
import type { KoaMiddleware } from "./adapters/koa.ts";
import { koa } from "./adapters/koa.ts";
import type { NodeRequest, NodeResponse } from "./adapters/node.ts";
import { attach, refuse } from "./adapters/node.ts";
import { carried } from "./adapters/carrier.ts";
import type { Refusal } from "./exchange.ts";
import { assertPrincipal } from "./login.ts";
import type { SessionsOptions, Span } from "./options.ts";
import { settings, span } from "./options.ts";
import { MECHANISM } from "./machine.ts";
import { Web } from "./server.ts";
import type { WebSession } from "./session.ts";

/** One entry of the list a user sees of their own sessions. ASVS 7.5.2. */
export interface SessionSummary {
  readonly handle: Handle;
  readonly createdAt: number;
  readonly authenticatedAt: number | undefined;
  readonly touchedAt: number;
  readonly idleAt: number | undefined;
  readonly absoluteAt: number | undefined;
  readonly peer: Peer;
}

/**
 * Web sessions for an application. Give a `store`, or a `kernel` that other mechanisms use too.
 * @throws HoldfastError `invalid-argument` for an option that makes no sense, naming it.
 */
export function createSessions<Data extends Json = Json>(
  options: SessionsOptions & { readonly initial?: Data },
): Sessions<Data> {
  return openSessions(options, false);
}

/** @internal `ownsStore`: nobody else has the store in hand, so it is closed with the sessions. */
export function openSessions<Data extends Json>(
  options: SessionsOptions & { readonly initial?: Data },
  ownsStore: boolean,
): Sessions<Data> {
  const checked = settings(options);
  const kernel = options.kernel ?? ownKernel(options);
  const owns = { kernel: options.kernel === undefined, store: ownsStore };
  return new Sessions(new Web<Data>(kernel, checked, options.initial), owns);
}

/** What is closed with the sessions, because they made it. */
interface Owned {
  readonly kernel: boolean;
  readonly store: boolean;
}

export class Sessions<Data extends Json = Json> {
  readonly kernel: Kernel;
  readonly #web: Web<Data>;
  readonly #owns: Owned;

  /** @internal */
  constructor(web: Web<Data>, owns: Owned) {
    this.kernel = web.kernel;
    this.#web = web;
    this.#owns = owns;
  }

  /** Resolves when the store answers. Requests may come earlier; they wait. */
  ready(): Promise<void> {
    return this.kernel.start();
  }

  /**
   * Waits for writes under way and stops. A store that was given is left open unless `store` says otherwise; a kernel that
   * was given is left alone, with its store.
   */
  async close(options: { readonly store?: boolean } = {}): Promise<void> {
    if (!this.#owns.kernel) return;
    await this.kernel.close();
    if (this.#owns.store || options.store === true) await this.kernel.store.close();
  }

  /** As `close({ store: true })`: for `await using`, where nobody has the store in hand. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ store: true });
  }

  // ── one adapter for each server ─────────────────────────────────────────────────────────────────────────────

  /** For fetch-style servers: the session, and `commit` to put on the response what it changed. */
  open(request: Request, about: { readonly address?: string } = {}): MaybePromise<FetchOpened<Data>> {
    return openFetch(this.#web, request, about);
  }

  /**
   * For node:http: sets `request.session` and resolves to it, or answers the request itself (403, 431, 503) and
   * resolves to undefined: then there is nothing left to do.
   */
  node(request: NodeRequest, response: NodeResponse): MaybePromise<WebSession<Data> | undefined> {
    return attach(this.#web, request, response);
  }

  /** Express 5 middleware: sets `request.session`. */
  express(): ExpressMiddleware {
    return express(this.#web);
  }

  /** Fastify 5 plugin: `await app.register(sessions.fastify())` sets `request.session`. */
  fastify(): FastifyPlugin {
    return fastify(this.#web);
  }

  /** Hono middleware: sets the variable `session`. */
  hono(): HonoMiddleware {
    return hono(this.#web);
  }

  /** Koa middleware: sets `context.session`. */
  koa(): KoaMiddleware {
    return koa(this.#web);
  }

  /**
   * The session that an adapter has put on a request or context, with its type.
   * @throws HoldfastError `invalid-argument` when no adapter has seen it.
   */
  of(carrier: object): WebSession<Data> {
    const session = carried(carrier, this.#web);
    if (session === undefined)
      throw new HoldfastError(
        "invalid-argument",
        "No session middleware has seen this request; install it before the handlers.",
      );
    return session as WebSession<Data>;
  }

  /**
   * Express middleware for what is sensitive: lets only sessions pass whose login or step-up is at most `maxAge` old.
   * Answers 401 with the challenge of RFC 9470 otherwise, or calls `onStale` (to send a browser to a form).
   */
  requireFresh(
    maxAge: Span,
    onStale?: (request: NodeRequest, response: NodeResponse) => void,
  ): ExpressMiddleware {
    const maxAgeMs = span("maxAge", maxAge);
    return (request, response, next) => {
      const refusal = this.freshness(this.of(request), maxAgeMs);
      if (refusal === undefined) next();
      else if (onStale !== undefined) onStale(request, response);
      else refuse(response, refusal);
    };
  }

  /** Why a session may not do something sensitive, as an answer to send, or undefined when it may. */
  freshness(session: WebSession<Data>, maxAge: Span): Refusal | undefined {
    if (!session.exists || session.principal === undefined) {
      return { status: 401, code: "no-session", message: "Sign in first.", headers: {} };
    }
    const maxAgeMs = span("maxAge", maxAge);
    if (session.isFresh(maxAgeMs)) return undefined;
    const challenge = `Session error="insufficient_user_authentication", max_age="${Math.floor(maxAgeMs / 1000)}"`;
    return {
      status: 401,
      code: "not-fresh",
      message: "Prove again who you are.",
      headers: { "www-authenticate": challenge },
    };
  }

  // ── a principal's sessions ──────────────────────────────────────────────────────────────────────────────────

  /**
   * A principal's live web sessions, the last used first; an empty list when there are none.
   * @throws HoldfastError `invalid-argument` without a principal: nobody in particular is not everybody.
   */
  async list(principal: string): Promise<readonly SessionSummary[]> {
    assertPrincipal(principal);
    const found: SessionRecord[] = [];
    for await (const record of this.kernel.sessions({ principal, mechanism: MECHANISM })) found.push(record);
    return found.sort((a, b) => b.touchedAt - a.touchedAt).map(summary);
  }

  /**
   * Ends one session by its handle, and its browser's "remember me". With `principal`, only if it is theirs: that is how
   * a user's own list ends what a form names.
   * @returns false when there was none, or it is somebody else's.
   */
  async end(
    handle: Handle,
    options: { readonly by?: string; readonly principal?: string } = {},
  ): Promise<boolean> {
    if ("principal" in options) {
      assertPrincipal(options.principal);
      const found = await this.kernel.lookUp(handle);
      if (found?.principal !== options.principal) return false;
    }
    return this.#web.end(handle, options.by);
  }

  /** Ends what `selector` means, of every mechanism: the login, and the sockets, uploads and calls of the same principal. */
  revoke(selector: Selector & { readonly reason?: string; readonly by?: string }): Promise<Revocation> {
    const { reason = "revoked", by, ...rest } = selector;
    return this.kernel.revoke(rest, { reason, ...(by !== undefined && { by }) });
  }
}

function summary(record: SessionRecord): SessionSummary {
  const { handle, createdAt, touchedAt, idleAt, absoluteAt, peer } = record;
  return {
    handle,
    createdAt,
    authenticatedAt: record.authentication?.at,
    touchedAt,
    idleAt,
    absoluteAt,
    peer,
  };
}

function ownKernel(options: SessionsOptions): Kernel {
  if (options.store === undefined)
    throw new HoldfastError("invalid-argument", "Give createSessions a store or a kernel.");
  return createKernel({
    store: options.store,
    ...(options.onFault !== undefined && { onFault: options.onFault }),
  });
}
