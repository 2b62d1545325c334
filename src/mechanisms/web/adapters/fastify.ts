import type { IncomingMessage, ServerResponse } from "node:http";
import type { Json } from "../../../kernel/index.ts";
import type { Exchange, Refusal } from "../exchange.ts";
import { problem, refusalHeaders } from "../exchange.ts";
import type { Opened, Web } from "../server.ts";
import type { Carrier } from "./carrier.ts";
import { carry } from "./carrier.ts";
import { NodeExchange } from "./node.ts";
import { withCookie } from "./response-gate.ts";

/** What we need of Fastify 5, so that its types are not our users' burden. */
export interface FastifyLike {
  hasRequestDecorator(name: string): boolean;
  decorateRequest(name: string, value: null): unknown;
  decorateReply(name: string | symbol, value: null): unknown;
  addHook(
    name: "onRequest",
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, done: (error?: Error) => void) => void,
  ): unknown;
  addHook(
    name: "onSend",
    hook: (
      request: FastifyRequestLike,
      reply: FastifyReplyLike,
      payload: unknown,
      done: (error: Error | null, payload?: unknown) => void,
    ) => void,
  ): unknown;
}

export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}

export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  readonly sent: boolean;
  code(status: number): unknown;
  getHeader(name: string): unknown;
  header(name: string, value: string | string[]): unknown;
  removeHeader(name: string): unknown;
  send(payload: string): unknown;
}

export type FastifyPlugin = (app: FastifyLike) => Promise<void>;

export function fastify<Data extends Json>(web: Web<Data>): FastifyPlugin {
  const plugin = async (app: FastifyLike): Promise<void> => {
    // Another kind of login of the same application may have been there first.
    if (!app.hasRequestDecorator("session")) app.decorateRequest("session", null);
    const slot: typeof EXCHANGE = Symbol("holdfast.exchange") as typeof EXCHANGE;
    app.decorateReply(slot, null);
    // Hooks with a callback: a request whose session is at hand waits for no promise.
    app.addHook("onRequest", (request: WithSession, reply: WithExchange, done) => {
      const exchange = new FastifyExchange(request, reply);
      const admit = (opened: Opened<Data>): void => {
        if (opened.refusal !== undefined) {
          refuseReply(reply, opened.refusal);
          return;
        }
        reply[slot] = exchange;
        carry(request, opened.session);
        done();
      };
      const opened = web.open(exchange);
      if (opened instanceof Promise) void opened.then(admit);
      else admit(opened);
    });
    app.addHook("onSend", (_request, reply: WithExchange, payload, done) => {
      const pending = reply[slot]?.settled();
      if (pending === undefined) done(null, payload);
      else void sendAfter(pending, () => done(null, payload));
    });
  };
  // Fastify's own mark for a plugin whose hooks are meant for the whole application, not for a scope of its own.
  return Object.assign(plugin, { [Symbol.for("skip-override")]: true });
}

async function sendAfter(pending: Promise<unknown>, send: () => void): Promise<void> {
  await pending;
  send();
}

declare const EXCHANGE: unique symbol;

type WithExchange = FastifyReplyLike & { [EXCHANGE]?: FastifyExchange | null };
type WithSession = FastifyRequestLike & Carrier;

function refuseReply(reply: FastifyReplyLike, refusal: Refusal): void {
  reply.code(refusal.status);
  for (const [name, value] of Object.entries(refusalHeaders(refusal))) reply.header(name, value);
  reply.send(problem(refusal));
}

/** Fastify keeps a response's headers to itself until it sends, and would drop a Set-Cookie put on the raw response. */
class FastifyExchange extends NodeExchange implements Exchange {
  readonly #reply: FastifyReplyLike;
  #pending: Promise<unknown>[] | undefined;

  constructor(request: FastifyRequestLike, reply: FastifyReplyLike) {
    super(request.raw, reply.raw);
    this.#reply = reply;
  }

  override setCookie(name: string, line: string): void {
    const present = this.#reply.getHeader("set-cookie") ?? [];
    const lines = withCookie(
      Array.isArray(present) ? present.map(String) : [String(present as string)],
      name,
      line,
    );
    this.#reply.removeHeader("set-cookie");
    this.#reply.header("set-cookie", lines);
  }

  override setHeader(name: string, value: string): void {
    if (this.#reply.getHeader(name) === undefined) this.#reply.header(name, value);
  }

  override holdFor(work: Promise<unknown>): void {
    (this.#pending ??= []).push(work);
  }

  /** Undefined when nothing has to be waited for. */
  settled(): Promise<unknown> | undefined {
    return this.#pending === undefined ? undefined : Promise.allSettled(this.#pending);
  }
}
