import type { Json } from "../../../kernel/index.ts";
import type { Web } from "../server.ts";
import type { WebSession } from "../session.ts";
import type { Carrier } from "./carrier.ts";
import { carry, putBehind } from "./carrier.ts";
import type { NodeRequest, NodeResponse, Place } from "./node.ts";
import { attach } from "./node.ts";

export type ExpressMiddleware = (
  request: NodeRequest,
  response: NodeResponse,
  next: (error?: unknown) => void,
) => void;

export function express<Data extends Json>(web: Web<Data>): ExpressMiddleware {
  const placing = new Placing();
  const place: Place = (request, session) => placing.put(request, session);
  return (request, response, next) => {
    const session = attach(web, request, response, place);
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

const SESSION: unique symbol = Symbol("holdfast.session");

type RawHeaders = string[] & { [SESSION]?: WebSession<Json> };

/**
 * Express gives every request the prototype of its application, after which no two requests have the same shape: a
 * property put on one costs a shape of its own, more than all else that is done for the session. So the session is put on
 * the request's list of raw headers, an array like any other, and `session` is a property of the application's prototype.
 */
class Placing {
  #ready: object | undefined;
  readonly #prepared = new WeakSet<object>();

  put(request: NodeRequest, session: WebSession<Json>): void {
    const prototype = Object.getPrototypeOf(request) as object;
    if (prototype !== this.#ready && !this.#prepare(prototype)) carry(request, session);
    else {
      const place = request.rawHeaders as RawHeaders;
      const before = place[SESSION];
      place[SESSION] = session;
      if (before !== undefined) putBehind(session, before);
    }
  }

  /** False for the prototype of a request that is not Express's: it belongs to all programs of this process. */
  #prepare(prototype: object): boolean {
    if (!Object.hasOwn(prototype, "app")) return false;
    if (!this.#prepared.has(prototype)) {
      Object.defineProperty(prototype, "session", accessor);
      this.#prepared.add(prototype);
    }
    this.#ready = prototype;
    return true;
  }
}

const accessor: PropertyDescriptor & ThisType<NodeRequest & Carrier> = {
  configurable: true,
  enumerable: true,
  get() {
    return (this.rawHeaders as RawHeaders)[SESSION];
  },
  /** Who puts something else in its place gets a property of the request itself. */
  set(value: unknown) {
    Object.defineProperty(this, "session", { value, configurable: true, enumerable: true, writable: true });
  },
};
