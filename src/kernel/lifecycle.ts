import { HoldfastError } from "./errors.ts";

/** Where a session stands. `suspended`: no transport is attached, its state is kept until `suspendUntil`. `ended` is final. */
export type State = "negotiating" | "established" | "suspended" | "ended";

/** The six phases of a session's life, in the order it goes through them. */
export const PHASES = [
  "pre-session",
  "establishment",
  "identifier-issuance",
  "maintenance",
  "termination",
  "post-session",
] as const;
export type Phase = (typeof PHASES)[number];

export const GRACEFUL_REASONS = [
  "logout",
  "bye",
  "finished",
  "idle-expired",
  "absolute-expired",
  "byte-limit",
] as const;
export const ABRUPT_REASONS = [
  "timeout",
  "crashed",
  "revoked",
  "evicted",
  "superseded",
  "refused",
  "protocol-error",
] as const;
export type EndReason = (typeof GRACEFUL_REASONS)[number] | (typeof ABRUPT_REASONS)[number];

export function isGraceful(reason: EndReason): boolean {
  return (GRACEFUL_REASONS as readonly string[]).includes(reason);
}

export interface EventRule {
  readonly phase: Phase;
  /** From which states the event is legal, and to which it leads. What is not here cannot happen. */
  readonly moves: Readonly<Partial<Record<State, State>>>;
}

/** The lifecycle, as data: every event a session's journal can hold, its phase, and the moves it may make. */
export const LIFECYCLE: Readonly<Record<SessionEvent, EventRule>> = {
  begin: { phase: "pre-session", moves: { negotiating: "negotiating" } },
  establish: { phase: "establishment", moves: { negotiating: "established", established: "established" } },
  issue: {
    phase: "identifier-issuance",
    moves: { negotiating: "negotiating", established: "established", suspended: "suspended" },
  },
  update: {
    phase: "maintenance",
    moves: { negotiating: "negotiating", established: "established", suspended: "suspended" },
  },
  touch: {
    phase: "maintenance",
    moves: { negotiating: "negotiating", established: "established", suspended: "suspended" },
  },
  rotate: { phase: "maintenance", moves: { established: "established", suspended: "suspended" } },
  authenticate: { phase: "maintenance", moves: { established: "established" } },
  checkpoint: { phase: "maintenance", moves: { established: "established", suspended: "suspended" } },
  own: {
    phase: "maintenance",
    moves: { negotiating: "negotiating", established: "established", suspended: "suspended" },
  },
  suspend: { phase: "maintenance", moves: { established: "suspended" } },
  resume: { phase: "maintenance", moves: { suspended: "established", established: "established" } },
  end: { phase: "termination", moves: { negotiating: "ended", established: "ended", suspended: "ended" } },
  "transport-signalled": { phase: "termination", moves: { ended: "ended" } },
  "transport-closed": { phase: "termination", moves: { ended: "ended" } },
  "late-use": { phase: "post-session", moves: { ended: "ended" } },
  reuse: {
    phase: "post-session",
    moves: { negotiating: "negotiating", established: "established", suspended: "suspended", ended: "ended" },
  },
};

export type SessionEvent =
  | "begin"
  | "establish"
  | "issue"
  | "update"
  | "touch"
  | "rotate"
  | "authenticate"
  | "checkpoint"
  | "own"
  | "suspend"
  | "resume"
  | "end"
  | "transport-signalled"
  | "transport-closed"
  | "late-use"
  | "reuse";

/**
 * The state `event` leads to from `state`.
 * @throws HoldfastError `illegal-transition` when the table has no such move.
 */
export function move(state: State, event: SessionEvent): State {
  const next = canMove(state, event);
  if (next === undefined) {
    throw new HoldfastError("illegal-transition", `A session that is ${state} cannot ${event}.`, {
      detail: { state, event },
    });
  }
  return next;
}

/** The state `event` leads to from `state`, or `undefined` when the move is illegal. */
export function canMove(state: State, event: SessionEvent): State | undefined {
  return LIFECYCLE[event].moves[state];
}

export function phaseOf(event: SessionEvent): Phase {
  return LIFECYCLE[event].phase;
}

/** The lifecycle as a Mermaid state diagram; docs/ holds its output and a test keeps the two equal. */
export function lifecycleDiagram(): string {
  const lines = ["stateDiagram-v2", "  [*] --> negotiating: begin", "  [*] --> established: establish"];
  const selfMoves = new Map<string, string[]>();
  for (const [event, rule] of Object.entries<EventRule>(LIFECYCLE)) {
    for (const [from, to] of Object.entries(rule.moves)) {
      if (event === "begin") continue;
      if (from === to) selfMoves.set(from, [...(selfMoves.get(from) ?? []), event]);
      else lines.push(`  ${from} --> ${to}: ${event}`);
    }
  }
  for (const [state, events] of selfMoves) lines.push(`  ${state} --> ${state}: ${events.join(", ")}`);
  lines.push("  ended --> [*]");
  return `${lines.join("\n")}\n`;
}
