import * as UNIT from "../units.ts";
import type { Agreement, Side } from "./agreement.ts";
import type { Message, Rules } from "./rules.ts";
import type { DialogState } from "./state.ts";

/** Whether a dialog with these units has neither tokens nor sync points, so that `plainRules` are all it needs. */
export function isPlain(units: number): boolean {
  return (units & ~(UNIT.modes | UNIT.typed | UNIT.urgent)) === 0 && (units & UNIT.halfDuplex) === 0;
}

/** `fullRules` as far as they concern a dialog without tokens and sync points: content, and the end. */
export const plainRules: Rules = {
  objection(agreement: Agreement, state: DialogState, message: Message, sender: Side, own: boolean) {
    const { type } = message;
    if (state.finished) return "finished";
    if (state.finish === sender) return "finishing";
    const asked = state.finish !== undefined;
    switch (type) {
      case "typed":
      case "data":
      case "text": {
        const silent = sender === 0 ? UNIT.simplexDown : UNIT.simplexUp;
        if (type === "typed" && (agreement.units & UNIT.typed) === 0) return "unagreed:typed";
        if ((agreement.units & silent) !== 0) return "simplex";
        return message.bytes.length > agreement.maxMessageBytes
          ? `size:${agreement.maxMessageBytes}`
          : undefined;
      }
      case "finish":
        return own && asked ? "finish" : undefined;
      case "finish-ack":
        return asked ? undefined : "no-finish";
      default:
        return `unagreed:${type}`;
    }
  },

  apply(_agreement: Agreement, state: DialogState, { type }: Message, sender: Side) {
    if (type === "finish") {
      state.finished = state.finish !== undefined;
      state.finish = sender;
    } else if (type === "finish-ack") state.finished = true;
  },

  voids: () => false,
  purgeOf: () => undefined,
  isPurging: () => false,
  answer: () => undefined,
};
