import { TOKEN_DATA } from "../numbers.ts";
import type { Agreement, Side } from "./agreement.ts";
import { tokensOf } from "./agreement.ts";
import type { Message } from "./rules.ts";
import { purgeOf } from "./purge.ts";
import type { DialogState } from "./state.ts";

/** What a message that met no objection does to the state: the same on the side that sends and the one that receives. */
export function apply(agreement: Agreement, state: DialogState, message: Message, sender: Side): void {
  const other: Side = sender === 0 ? 1 : 0;
  switch (message.type) {
    case "data":
    case "text":
    case "typed":
      return;
    case "token-give":
      state.tokens ^= message.tokens;
      // X.215 §13.11: giving the data token away deals with an exception.
      if ((message.tokens & TOKEN_DATA) !== 0) state.exception = undefined;
      return;
    case "minor":
      setPoint(state, other);
      return;
    case "minor-ack":
      state.va = message.serial + 1;
      return;
    case "major":
    case "activity-end":
      setPoint(state, other);
      state.major = { by: sender, serial: message.serial, end: message.type === "activity-end" };
      return;
    case "major-ack":
    case "activity-end-ack":
      // X.225 §7.21: V(A) = V(R) = V(M), so that no restart crosses the point.
      state.va = state.vr = message.serial + 1;
      state.major = undefined;
      if (message.type === "activity-end-ack") state.activity = undefined;
      return;
    case "resync":
    case "activity-interrupt":
    case "activity-discard":
      state.exchange = purgeOf(message, sender);
      // Whatever the other side had asked for before is void: it learns so from this very message.
      if (state.finish === other) state.finish = undefined;
      if (state.major?.by === other) state.major = undefined;
      return;
    case "resync-ack":
      state.vm = state.va = message.serial;
      // X.225 sets V(R) to 0 here, from where no restart could succeed: no point below has a meaning any more.
      if (state.exchange?.purge !== "restart") state.vr = message.serial;
      state.tokens = message.tokens;
      endPurge(state);
      return;
    case "activity-interrupt-ack":
    case "activity-discard-ack":
      // X.215 §13.9: all tokens go to who asked, which is the other side of this answer.
      state.tokens = other === 0 ? tokensOf(agreement.units) : 0;
      state.activity = undefined;
      state.va = state.vm = state.vr = 1;
      endPurge(state);
      return;
    case "activity-start":
      state.activity = message.id;
      state.va = state.vm = state.vr = 1;
      state.confirmer = undefined;
      return;
    case "activity-resume":
      state.activity = message.id;
      state.va = state.vm = message.serial + 1;
      state.vr = 1;
      state.confirmer = undefined;
      return;
    case "exception":
      // It crossed the data token on its way here: the exception was dealt with already.
      if (holderOfData(state) === other) state.exception = sender;
      return;
    case "finish":
      state.exception = undefined;
      if (state.finish === other) state.finished = true;
      state.finish = sender;
      return;
    case "finish-ack":
      state.finished = true;
      return;
    case "finish-refused":
      state.finish = undefined;
  }
}

/** X.225 §7.19: setting a point confirms those that the setter was to confirm, and makes the other side the confirmer. */
function setPoint(state: DialogState, confirmer: Side): void {
  if (state.confirmer !== confirmer) {
    state.va = state.vm;
    state.confirmer = confirmer;
  }
  state.vm++;
}

function endPurge(state: DialogState): void {
  state.exchange = undefined;
  state.major = undefined;
  state.exception = undefined;
  state.confirmer = undefined;
}

function holderOfData(state: DialogState): Side {
  return (state.tokens & TOKEN_DATA) !== 0 ? 0 : 1;
}
