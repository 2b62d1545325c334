import type { Side } from "./agreement.ts";
import type { Message } from "./rules.ts";
import type { Exchange } from "./state.ts";

/** The purge a message asks for, or `undefined` when it asks for none. */
export function purgeOf(message: Message, by: Side): Exchange | undefined {
  if (message.type === "resync")
    return { by, purge: message.kind, serial: message.serial, placement: message.placement };
  if (message.type === "activity-interrupt") return { by, purge: "interrupt", serial: 0, placement: 0 };
  if (message.type === "activity-discard") return { by, purge: "discard", serial: 0, placement: 0 };
  return undefined;
}
