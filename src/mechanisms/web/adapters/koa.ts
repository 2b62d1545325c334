import type { Json } from "../../../kernel/index.ts";
import type { Web } from "../server.ts";
import { carry } from "./carrier.ts";
import type { NodeRequest, NodeResponse } from "./node.ts";
import { attach } from "./node.ts";

/** What we need of Koa's context. */
export interface KoaContextLike {
  readonly req: NodeRequest;
  readonly res: NodeResponse;
  /** False tells Koa that the response is dealt with. */
  respond?: boolean;
}

export type KoaMiddleware = (context: KoaContextLike, next: () => Promise<unknown>) => Promise<void>;

export function koa<Data extends Json>(web: Web<Data>): KoaMiddleware {
  return async (context, next) => {
    const session = await attach(web, context.req, context.res);
    if (session === undefined) {
      context.respond = false;
      return;
    }
    carry(context, session);
    await next();
  };
}
