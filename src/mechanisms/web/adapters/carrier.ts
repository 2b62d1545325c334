import type { Json } from "../../../kernel/index.ts";
import { WebSession } from "../session.ts";

/** A request or context with its session where users of its framework expect it. */
export type Carrier = object & { session?: unknown };

/** Sessions of other kinds of login that a request has as well: each is behind the one that was put there after it. */
const behind = new WeakMap<WebSession<Json>, WebSession<Json>>();

export function carry(carrier: object, session: WebSession<Json>): void {
  const before = (carrier as Carrier).session;
  (carrier as Carrier).session = session;
  if (before instanceof WebSession) putBehind(session, before);
}

export function putBehind(session: WebSession<Json>, before: WebSession<Json>): void {
  behind.set(session, before);
}

/** The session that `web` has put there, never one of another kind of login. */
export function carried(carrier: object, web: object): WebSession<Json> | undefined {
  let session = (carrier as Carrier | undefined)?.session;
  while (session instanceof WebSession) {
    if (session.isOf(web)) return session;
    session = behind.get(session);
  }
  return undefined;
}
