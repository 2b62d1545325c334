import type { Json } from "../../../kernel/index.ts";
import type { Web } from "../server.ts";
import { carry } from "./carrier.ts";
import { FetchExchange, refusalResponse } from "./fetch.ts";

/** What we need of Hono's context. */
export interface HonoContextLike {
  readonly req: { readonly raw: Request };
  /** @hono/node-server puts Node's request here. */
  readonly env: unknown;
  res: Response;
  set(name: string, value: unknown): void;
}

// Hono types a middleware by its own context; a structural one must accept whatever it passes.
export type HonoMiddleware = (
  context: HonoContextLike,
  next: () => Promise<void>,
) => Promise<Response | undefined>;

export function hono<Data extends Json>(web: Web<Data>): HonoMiddleware {
  return async (context, next) => {
    const exchange = new FetchExchange(context.req.raw, addressOf(context.env));
    const opened = await web.open(exchange);
    if (opened.refusal !== undefined) return exchange.commit(refusalResponse(opened.refusal));
    carry(context, opened.session);
    context.set("session", opened.session);
    await next();
    const response = await exchange.commit(context.res);
    if (response !== context.res) {
      // Assigning merges the old response's headers into the new one, which has them already.
      context.res = undefined as unknown as Response;
      context.res = response;
    }
    return undefined;
  };
}

function addressOf(env: unknown): string | undefined {
  const socket: unknown = (env as { incoming?: { socket?: { remoteAddress?: unknown } } } | undefined)
    ?.incoming?.socket;
  const address = (socket as { remoteAddress?: unknown } | undefined)?.remoteAddress;
  return typeof address === "string" ? address : undefined;
}
