import type { Json } from "../../../kernel/index.ts";
import { WebSession } from "../session.ts";

/** A request or context with its session where users of its framework expect it. */
export type Carrier = object & { session?: unknown };

export function carry(carrier: object, session: WebSession<Json>): void {
  (carrier as Carrier).session = session;
}

export function carried(carrier: object): WebSession<Json> | undefined {
  const { session } = carrier as Carrier;
  return session instanceof WebSession ? session : undefined;
}
