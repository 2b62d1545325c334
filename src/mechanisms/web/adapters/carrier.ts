import type { Json } from "../../../kernel/index.ts";
import type { WebSession } from "../session.ts";

/** Where an adapter leaves a request's session, besides the property that the framework's users expect. */
const SESSION: unique symbol = Symbol("holdfast.session");

type Carrier = object & { [SESSION]?: WebSession<Json> };

export function carry(carrier: object, session: WebSession<Json>): void {
  (carrier as Carrier)[SESSION] = session;
}

export function carried(carrier: object): WebSession<Json> | undefined {
  return (carrier as Carrier)[SESSION];
}
