import type { ResyncKind } from "../frames.ts";
import type { Agreement, Side } from "./agreement.ts";

/** What purges: a resynchronization, or an activity that is interrupted or thrown away. Weakest first (X.225 §7.28). */
export const PURGES: readonly Purge[] = ["restart", "set", "abandon", "interrupt", "discard"];
export type Purge = ResyncKind | "interrupt" | "discard";

/** A purge that was asked for and not yet answered. */
export interface Exchange {
  readonly by: Side;
  readonly purge: Purge;
  readonly serial: number;
  /** Two bits a token, see `PLACE`. */
  readonly placement: number;
}

/** A major sync point or an activity's end that was set and not yet confirmed. */
export interface Major {
  readonly by: Side;
  readonly serial: number;
  readonly end: boolean;
}

/**
 * Who may do what, and where the dialog stands: all that the numbered messages of both directions change. It does not
 * know which side it is kept by; each side keeps one, and they are equal whenever nothing is under way.
 */
export interface DialogState {
  /** Bits of the tokens the initiator has; the other available ones are the responder's. */
  tokens: number;
  /** X.225 §8.3.1: the lowest serial not yet confirmed, the next to use, the lowest to restart from. */
  va: number;
  vm: number;
  vr: number;
  /** Who may confirm minor sync points; absent: there is none to confirm. */
  confirmer: Side | undefined;
  major: Major | undefined;
  exchange: Exchange | undefined;
  activity: string | undefined;
  /** Who has reported an exception that was not yet dealt with. */
  exception: Side | undefined;
  /** Who has asked to finish. */
  finish: Side | undefined;
  finished: boolean;
}

export function initialState(agreement: Agreement): DialogState {
  return {
    tokens: agreement.tokens,
    va: 1,
    vm: 1,
    vr: 1,
    confirmer: undefined,
    major: undefined,
    exchange: undefined,
    activity: undefined,
    exception: undefined,
    finish: undefined,
    finished: false,
  };
}

/** What a log keeps beside the entries: one side of a dialog at one moment. A later mark replaces it. */
export interface Mark {
  readonly committed: number;
  readonly applied: number;
  readonly sent: number;
  readonly acked: number;
  readonly purgedBelow: number;
  readonly droppedBelow: number;
  readonly sinceCheckpoint: number;
  readonly state: Readonly<DialogState>;
}
