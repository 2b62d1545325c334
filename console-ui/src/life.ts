import type { SessionRow, TimelineEntry } from "../../src/console/contract.ts";

export const LANES = [
  { phase: "pre-session", name: "Pre-session" },
  { phase: "establishment", name: "Establishment" },
  { phase: "identifier-issuance", name: "Identifier" },
  { phase: "maintenance", name: "Maintenance" },
  { phase: "termination", name: "Termination" },
  { phase: "post-session", name: "Post-session" },
] as const;

export type MarkKind = "plain" | "token" | "sync" | "pause" | "join" | "end" | "refused";

export interface Mark {
  /** Index in the timeline. */
  readonly index: number;
  readonly at: number;
  readonly lane: number;
  readonly kind: MarkKind;
}

export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface StateSpan extends Span {
  readonly state: SessionRow["state"];
}

/** A stretch in which one connection on one node carried the session. */
export interface Transport extends Span {
  readonly node: string;
  /** It took an earlier one's place: there is a join before it. */
  readonly resumed: boolean;
  readonly open: boolean;
}

export interface TokenSpan extends Span {
  readonly generation: number;
}

/** Who may speak, of a session in which one speaks at a time. */
export interface Turn extends Span {
  readonly who: string;
}

export interface Point {
  readonly at: number;
  readonly index: number;
}

/** A session's life as the ladder draws it. */
export interface Life extends Span {
  readonly marks: readonly Mark[];
  readonly states: readonly StateSpan[];
  readonly transports: readonly Transport[];
  readonly tokens: readonly TokenSpan[];
  readonly turns: readonly Turn[];
  readonly syncPoints: readonly Point[];
  readonly isOver: boolean;
}

export function lifeOf(row: SessionRow, timeline: readonly TimelineEntry[], now: number): Life {
  const isOver = row.state === "ended";
  const first = Math.min(row.createdAt, timeline[0]?.at ?? Infinity);
  const last = Math.max(row.ended?.at ?? now, timeline.at(-1)?.at ?? 0);
  return {
    from: first,
    to: Math.max(last, first + 1),
    isOver,
    marks: timeline.flatMap((entry, index) => markOf(entry, index)),
    states: statesOf(row, timeline, first, row.ended?.at ?? last),
    transports: transportsOf(row, timeline, row.ended?.at ?? last),
    tokens: tokensOf(timeline, row.ended?.at ?? last),
    turns: turnsOf(row, timeline, row.ended?.at ?? last),
    syncPoints: timeline.flatMap((entry, index) =>
      kindOf(entry) === "sync" ? [{ at: entry.at, index }] : [],
    ),
  };
}

function markOf(entry: TimelineEntry, index: number): Mark[] {
  const lane = LANES.findIndex(({ phase }) => phase === entry.phase);
  return lane === -1 ? [] : [{ index, at: entry.at, lane, kind: kindOf(entry) }];
}

/** A minor sync point is noted, a major one is a checkpoint. */
function kindOf({ event, detail }: TimelineEntry): MarkKind {
  return detail?.["minor"] === undefined ? (KINDS[event] ?? "plain") : "sync";
}

function statesOf(
  row: SessionRow,
  timeline: readonly TimelineEntry[],
  from: number,
  to: number,
): StateSpan[] {
  const spans: StateSpan[] = [];
  const begins = timeline[0]?.event === "begin";
  let state: SessionRow["state"] = begins ? "negotiating" : "established";
  let since = from;
  const move = (next: SessionRow["state"], at: number): void => {
    if (next === state) return;
    spans.push({ state, from: since, to: at });
    state = next;
    since = at;
  };
  for (const { event, at } of timeline) {
    if (event === "establish" || event === "resume") move("established", at);
    else if (event === "suspend") move("suspended", at);
    else if (event === "end") move("ended", at);
  }
  if (!timeline.some(({ event }) => event === "end"))
    spans.push({ state: row.state === "ended" ? state : row.state, from: since, to });
  return spans;
}

/** Requests that come and go are not a connection that lasts: such a session has none. */
function transportsOf(row: SessionRow, timeline: readonly TimelineEntry[], to: number): Transport[] {
  if (row.mode === "request-response") return [];
  const found: Transport[] = [];
  let open: { from: number; node: string; resumed: boolean } | undefined;
  const close = (at: number): void => {
    if (open !== undefined) found.push({ ...open, to: at, open: false });
    open = undefined;
  };
  for (const { event, at, node = "" } of timeline) {
    if (event === "begin" || event === "establish") open ??= { from: at, node, resumed: false };
    else if (event === "resume") {
      close(at);
      open = { from: at, node, resumed: true };
    } else if (event === "suspend" || event === "transport-closed") close(at);
  }
  if (open !== undefined) found.push({ ...open, to, open: row.state !== "ended" });
  return found;
}

function tokensOf(timeline: readonly TimelineEntry[], to: number): TokenSpan[] {
  const found: TokenSpan[] = [];
  let since: number | undefined;
  const change = (at: number): void => {
    if (since !== undefined) found.push({ from: since, to: at, generation: found.length });
    since = at;
  };
  for (const { event, at } of timeline)
    if (event === "issue" || event === "rotate" || event === "authenticate") change(at);
  if (since !== undefined) found.push({ from: since, to, generation: found.length });
  return found;
}

function turnsOf(row: SessionRow, timeline: readonly TimelineEntry[], to: number): Turn[] {
  const changes = timeline.flatMap(({ at, detail }) => {
    const who = detail?.["turn"];
    return typeof who === "string" ? [{ at, who }] : [];
  });
  const [first] = changes;
  if (first === undefined) return [];
  // What came before the first change was the other side's.
  const before = first.who === "initiator" ? "responder" : "initiator";
  return [{ at: row.createdAt, who: before }, ...changes].map(({ at, who }, index) => ({
    from: at,
    to: changes[index]?.at ?? to,
    who,
  }));
}

/** Where an instant is drawn, 0 to 1. */
export interface Scale {
  (at: number): number;
  /** Waits long enough to be named, with where they are drawn. */
  readonly waits: readonly { readonly from: number; readonly to: number; readonly ms: number }[];
}

/**
 * `even`: a wait of three days takes little more room than one of an hour, so that what happened close together can be
 * told apart; the waits are named instead. `true`: to scale.
 */
export function scaleOf(life: Life, way: "even" | "true"): Scale {
  const instants = [...new Set([life.from, ...life.marks.map(({ at }) => at), life.to])].sort(
    (a, b) => a - b,
  );
  const places = [0];
  for (let i = 1; i < instants.length; i++) {
    const ms = (instants[i] ?? 0) - (instants[i - 1] ?? 0);
    places.push((places[i - 1] ?? 0) + (way === "true" ? ms : Math.log2(1 + ms / 50) ** 1.6));
  }
  const whole = places.at(-1) ?? 1;
  const place = (at: number): number => {
    let low = 0;
    let high = instants.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((instants[middle] ?? 0) <= at) low = middle;
      else high = middle;
    }
    const [a = 0, b = 1] = [instants[low], instants[high]];
    const [x = 0, y = 1] = [places[low], places[high]];
    const share = b === a ? 0 : Math.max(0, Math.min(1, (at - a) / (b - a)));
    return (x + (y - x) * share) / (whole === 0 ? 1 : whole);
  };
  const waits = instants.slice(1).map((to, i) => {
    const from = instants[i] ?? to;
    return { from: place(from), to: place(to), ms: to - from };
  });
  return Object.assign(place, { waits });
}

const KINDS: Readonly<Record<string, MarkKind>> = {
  issue: "token",
  rotate: "token",
  authenticate: "token",
  checkpoint: "sync",
  suspend: "pause",
  resume: "join",
  end: "end",
  "late-use": "refused",
  reuse: "refused",
};

/** What an entry says, in plain words. */
export function wordsOf({ event, detail = {} }: TimelineEntry): string {
  const reason = typeof detail["reason"] === "string" ? `: ${detail["reason"]}` : "";
  if (event === "end") return `Ended${reason}`;
  const { turn, minor } = detail;
  if (typeof turn === "string") return `The ${turn} has the turn`;
  if (typeof minor === "number") return `Sync point ${minor}`;
  return WORDS[event] ?? event;
}

const WORDS: Readonly<Record<string, string>> = {
  begin: "The peer spoke first",
  establish: "Established",
  issue: "Identifier issued",
  update: "Changed",
  touch: "Used",
  rotate: "Secret renewed",
  authenticate: "Proved identity, new secret",
  checkpoint: "Checkpoint",
  own: "Taken over",
  suspend: "Suspended",
  resume: "Resumed",
  "transport-signalled": "Connection told to close",
  "transport-closed": "Connection closed",
  "late-use": "Used after its end, refused",
  reuse: "Old secret used, refused",
  note: "Noted",
};
