import type { Json } from "../../../kernel/index.ts";
import type { Web } from "../server.ts";
import type { NodeRequest, NodeResponse } from "./node.ts";
import { attach } from "./node.ts";

export type ExpressMiddleware = (
  request: NodeRequest,
  response: NodeResponse,
  next: (error?: unknown) => void,
) => void;

export function express<Data extends Json>(web: Web<Data>): ExpressMiddleware {
  return (request, response, next) => {
    const session = attach(web, request, response);
    if (session instanceof Promise) void proceed(session, next);
    else if (session !== undefined) next();
  };
}

/** Resolves after the handlers were called; an answer that was given already stops here. */
async function proceed(session: Promise<object | undefined>, next: (error?: unknown) => void): Promise<void> {
  let late: object | undefined;
  try {
    late = await session;
  } catch (error) {
    next(error);
    return;
  }
  if (late !== undefined) next();
}
