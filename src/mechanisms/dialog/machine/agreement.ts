import {
  ALL_TOKENS,
  PLACE_INITIATOR,
  PLACE_RESPONDER,
  TOKEN_DATA,
  TOKEN_MAJOR,
  TOKEN_MINOR,
  TOKEN_RELEASE,
} from "../numbers.ts";
import * as UNIT from "../units.ts";
import type { DialogState } from "./state.ts";

/** Which side opened the dialog: 0 the initiator, 1 the responder. The other one is `1 - side`. */
export type Side = 0 | 1;

/** What both sides have agreed on when the dialog was opened; it does not change. */
export interface Agreement {
  /** Bits of `UNIT`, exactly one mode among them. */
  readonly units: number;
  /** Bits of `TOKEN` the initiator began with. */
  readonly tokens: number;
  readonly checkpointBytes: number;
  readonly checkpointWindow: number;
  readonly maxMessageBytes: number;
}

/** What one side can do and wants. */
export interface Proposal {
  readonly units: number;
  /** Two bits a token, see `PLACE`. The responder's own counts where the initiator leaves it to the acceptor. */
  readonly placement: number;
  readonly checkpointBytes: number;
  readonly checkpointWindow: number;
  readonly maxMessageBytes: number;
}

/** Modes in the order in which one is taken when several are possible: the freest first. */
const MODES = [UNIT.duplex, UNIT.halfDuplex, UNIT.simplexDown, UNIT.simplexUp] as const;

/** The functional units both have (X.225 §6.1), without those whose conditions do not hold; `undefined`: no common mode. */
export function agree(initiator: Proposal, responder: Proposal): Agreement | undefined {
  const common = initiator.units & responder.units;
  const mode = MODES.find((one) => (common & one) !== 0);
  if (mode === undefined) return undefined;
  let units = (common & ~UNIT.modes) | mode;
  // X.215 §8.3: exceptions only with half-duplex, resynchronization only where there are sync points.
  if (mode !== UNIT.halfDuplex) units &= ~UNIT.exceptions;
  if ((units & (UNIT.minor | UNIT.major)) === 0) units &= ~UNIT.resync;
  // A feed has nobody who could give a token back.
  if ((mode & (UNIT.simplexDown | UNIT.simplexUp)) !== 0) units &= ~(UNIT.release | UNIT.activity);
  const available = tokensOf(units);
  return {
    units,
    tokens: settle(initiator.placement, available, settle(responder.placement, available, ALL_TOKENS)),
    checkpointBytes: smaller(initiator.checkpointBytes, responder.checkpointBytes),
    checkpointWindow: smaller(initiator.checkpointWindow, responder.checkpointWindow),
    maxMessageBytes: Math.min(initiator.maxMessageBytes, responder.maxMessageBytes),
  };
}

/** A token exists when its unit was chosen (X.215 §7.2). */
export function tokensOf(units: number): number {
  return (
    (units & UNIT.halfDuplex ? TOKEN_DATA : 0) |
    (units & UNIT.minor ? TOKEN_MINOR : 0) |
    (units & (UNIT.major | UNIT.activity) ? TOKEN_MAJOR : 0) |
    (units & UNIT.release ? TOKEN_RELEASE : 0)
  );
}

/** Tokens `side` has. While a purge is under way nobody has any: its end places them anew. */
export function tokensHeld(agreement: Agreement, state: DialogState, side: Side): number {
  if (state.exchange !== undefined) return 0;
  return side === 0 ? state.tokens : tokensOf(agreement.units) & ~state.tokens;
}

/** Bits of the tokens the initiator gets under `placement`; those left open fall as in `open`. */
export function settle(placement: number, available: number, open: number): number {
  let tokens = 0;
  for (let index = 0; index < 4; index++) {
    const bit = 1 << index;
    const place = (placement >> (index * 2)) & 3;
    if (place === PLACE_INITIATOR || (place !== PLACE_RESPONDER && (open & bit) !== 0)) tokens |= bit;
  }
  return tokens & available;
}

/** Whether `tokens` is one of the outcomes that `placement` allows. */
export function settles(placement: number, available: number, tokens: number): boolean {
  const least = settle(placement, available, 0);
  const most = settle(placement, available, ALL_TOKENS);
  return (tokens & ~most) === 0 && (least & ~tokens) === 0;
}

/** The placement that gives every token in `tokens` to the initiator and the rest to the responder. */
export function placementOf(tokens: number): number {
  let placement = 0;
  for (let index = 0; index < 4; index++) {
    if ((tokens & (1 << index)) === 0) placement |= PLACE_RESPONDER << (index * 2);
  }
  return placement;
}

/** Zero means no wish. */
function smaller(one: number, other: number): number {
  return one === 0 || other === 0 ? Math.max(one, other) : Math.min(one, other);
}
