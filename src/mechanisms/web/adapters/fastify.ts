import type { IncomingMessage, ServerResponse } from "node:http";
import type { Json } from "../../../kernel/index.ts";
import type { Exchange } from "../exchange.ts";
import { problem, refusalHeaders } from "../exchange.ts";
import type { Opened, Web } from "../server.ts";
import { carry } from "./carrier.ts";
import { NodeExchange } from "./node.ts";
import { withCookie } from "./response-gate.ts";

/** What we need of Fastify 5, so that its types are not our users' burden. */
export interface FastifyLike {
  decorateRequest(name: string, value: null): unknown;
  addHook(
    name: "onRequest",
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>,
  ): unknown;
  addHook(
    name: "onSend",
    hook: (request: FastifyRequestLike, reply: FastifyReplyLike, payload: unknown) => Promise<unknown>,
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
  const exchanges = new WeakMap<FastifyReplyLike, FastifyExchange>();
  const plugin = async (app: FastifyLike): Promise<void> => {
    app.decorateRequest("session", null);
    app.addHook("onRequest", async (request, reply) => {
      const exchange = new FastifyExchange(request, reply);
      const opened = await web.open(exchange);
      if (opened.refusal !== undefined) return refuseReply(reply, opened);
      exchanges.set(reply, exchange);
      carry(request, opened.session);
      Reflect.set(request, "session", opened.session);
      return undefined;
    });
    app.addHook("onSend", async (_request, reply, payload) => {
      await exchanges.get(reply)?.settled();
      return payload;
    });
  };
  // Fastify's own mark for a plugin whose hooks are meant for the whole application, not for a scope of its own.
  return Object.assign(plugin, { [Symbol.for("skip-override")]: true });
}

function refuseReply<Data extends Json>(
  reply: FastifyReplyLike,
  { refusal }: Opened<Data>,
): FastifyReplyLike {
  if (refusal === undefined) return reply;
  reply.code(refusal.status);
  for (const [name, value] of Object.entries(refusalHeaders(refusal))) reply.header(name, value);
  reply.send(problem(refusal));
  return reply;
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

  async settled(): Promise<void> {
    if (this.#pending !== undefined) await Promise.allSettled(this.#pending);
  }
}
