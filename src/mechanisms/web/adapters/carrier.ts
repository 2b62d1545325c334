import type { Json } from "../../../kernel/index.ts";
import type { WebSession } from "../session.ts";

type Carrier = { [slot: symbol]: WebSession<Json> | undefined };

/**
 * Where an adapter leaves a request's session, besides the property that the framework's users expect. Each `Sessions`
 * has a slot of its own, so that an application with two kinds of login never takes one for the other.
 */
export function carry(carrier: object, slot: symbol, session: WebSession<Json>): void {
  (carrier as Carrier)[slot] = session;
}

export function carried(carrier: object, slot: symbol): WebSession<Json> | undefined {
  return (carrier as Carrier | undefined)?.[slot];
}
