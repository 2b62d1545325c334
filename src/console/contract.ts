/**
 * What the admin API speaks: the shapes that the console page, the command line and the OpenAPI document share. All
 * instants are milliseconds since 1970; absent members are left out, never null.
 */
import type { Handle, Json, Mode, Peer, State } from "../kernel/index.ts";

/** One row of the live list. */
export interface SessionRow {
  readonly handle: Handle;
  readonly mechanism: string;
  readonly state: State;
  readonly mode: Mode;
  readonly principal?: string;
  readonly roles?: readonly string[];
  readonly tenant?: string;
  readonly label?: string;
  readonly parent?: Handle;
  readonly node?: string;
  readonly peer: Peer;
  readonly createdAt: number;
  readonly touchedAt: number;
  readonly idleAt?: number;
  readonly absoluteAt?: number;
  readonly suspendUntil?: number;
  readonly checkpoint?: { readonly position: number; readonly total?: number; readonly at: number };
  readonly ended?: {
    readonly at: number;
    readonly reason: string;
    readonly graceful: boolean;
    readonly by?: string;
  };
}

/** `GET /api/sessions`: filters combine; `q` is a substring of handle, principal, label, address or agent. */
export interface SessionQuery {
  readonly principal?: string;
  readonly mechanism?: string;
  readonly node?: string;
  readonly state?: State;
  readonly tenant?: string;
  readonly parent?: Handle;
  readonly q?: string;
  /** Milliseconds: only sessions at least, at most, this old. */
  readonly olderThan?: number;
  readonly youngerThan?: number;
  readonly after?: string;
  /** 1 to 1,000; 100 when left out. */
  readonly limit?: number;
}

export interface SessionPage {
  readonly sessions: readonly SessionRow[];
  /** Pass as `after` to go on; absent on the last page. */
  readonly next?: string;
}

/** `GET /api/sessions/{handle}` */
export interface SessionDetail {
  readonly session: SessionRow;
  readonly data: Json;
  readonly children: readonly SessionRow[];
  readonly timeline: readonly TimelineEntry[];
}

export interface TimelineEntry {
  readonly cursor: string;
  readonly at: number;
  /** One of the six phases, or `governance`. */
  readonly phase: string;
  readonly event: string;
  readonly handle?: Handle;
  readonly mechanism?: string;
  readonly principal?: string;
  readonly node?: string;
  readonly by?: string;
  readonly detail?: { readonly [key: string]: Json };
}

/** As the kernel's selector; an empty one is refused, `{ all: true }` means everybody. */
export interface SelectorBody {
  readonly handle?: string | readonly string[];
  readonly principal?: string;
  readonly role?: string;
  readonly mechanism?: string;
  readonly node?: string;
  readonly device?: string;
  readonly tenant?: string;
  readonly parent?: string;
  readonly except?: string | readonly string[];
  readonly all?: true;
}

/** `POST /api/preview` with a `SelectorBody`. */
export interface PreviewAnswer {
  readonly count: number;
  readonly byMechanism: Readonly<Record<string, number>>;
  readonly sample: readonly SessionRow[];
}

/** `POST /api/revocations`; answers 201 with a `RevocationAnswer` once every session is refused. */
export interface RevokeBody {
  readonly selector: SelectorBody;
  readonly reason: string;
}

/** Also `GET /api/revocations/{id}`, and as `event: receipt` on the feed while they fill in. */
export interface RevocationAnswer {
  readonly id: string;
  readonly at: number;
  readonly by: string;
  readonly reason: string;
  readonly selector: SelectorBody;
  readonly settled: boolean;
  readonly receipts: readonly ReceiptRow[];
}

export interface ReceiptRow {
  readonly handle: Handle;
  readonly mechanism: string;
  readonly principal?: string;
  readonly node?: string;
  readonly state: "requested" | "ended" | "signalled" | "closed" | "failed";
  readonly requestedAt: number;
  readonly endedAt?: number;
  readonly signalledAt?: number;
  readonly closedAt?: number;
  readonly why?: string;
}

/** `POST /api/locks` answers 201 with the lock and its revocation; `GET /api/locks` lists; `DELETE /api/locks/{id}`. */
export interface LockBody {
  readonly selector: SelectorBody;
  readonly reason: string;
  readonly until?: number;
}

export interface LockRow {
  readonly id: string;
  readonly selector: SelectorBody;
  readonly reason: string;
  readonly by?: string;
  readonly at: number;
  readonly until?: number;
}

/** `GET /api/nodes` */
export interface NodeRow {
  readonly id: string;
  readonly alive: boolean;
  readonly startedAt: number;
  readonly until: number;
  readonly about: Readonly<Record<string, string | number>>;
}

/** `GET /api/summary`: what the health screen shows. */
export interface Summary {
  readonly at: number;
  readonly node: string;
  readonly store: { readonly kind: string; readonly stats: Readonly<Record<string, number>> };
  readonly feedLive: boolean;
  /** Live sessions by mechanism and state. */
  readonly sessions: readonly { readonly mechanism: string; readonly state: State; readonly count: number }[];
  /** Journal events that this node has seen since it started. */
  readonly events: Readonly<Record<string, number>>;
  readonly endedByReason: Readonly<Record<string, number>>;
  readonly refusals: Readonly<Record<string, number>>;
  readonly rates: { readonly establishedPerSecond: number; readonly endedPerSecond: number };
  readonly history: History;
  /** How long the middle one of the latest resumed sessions had been suspended; absent when none was. */
  readonly resumeAfterMs?: number;
  readonly listeners: readonly {
    readonly name: string;
    readonly mechanism: string;
    readonly address: string;
    readonly open: number;
  }[];
  /** TLS handshakes on this node's own ports since it started; absent when none of them speaks TLS. */
  readonly tls?: TlsFigures;
}

export interface TlsFigures {
  readonly handshakes: number;
  /** Of them, those in which the client had a session to resume. */
  readonly offered: number;
  readonly resumed: number;
  /** Why sessions that were offered did not resume. */
  readonly refusals: Readonly<Record<string, number>>;
}

/** How many sessions came and went in each step of the last quarter of an hour, the oldest first. */
export interface History {
  /** When the first step began. */
  readonly from: number;
  readonly stepMs: number;
  readonly established: readonly number[];
  readonly suspended: readonly number[];
  readonly resumed: readonly number[];
  readonly ended: readonly number[];
  /** Secrets shown after their end or after they were replaced. */
  readonly refused: readonly number[];
}

/**
 * `GET /api/feed` is text/event-stream. Every event has the journal's cursor as its id; `Last-Event-ID` resumes, and so
 * does `?after=`, which a page can set itself.
 * `rows`: patches of the live list, coalesced · `entries`: journal entries · `receipt`: a revocation's receipt ·
 * `gap`: what lay between is lost, load again · `feed`: whether the node itself hears of changes.
 */
export type FeedEvent =
  | {
      readonly event: "rows";
      readonly data: { readonly changed: readonly SessionRow[]; readonly ended: readonly SessionRow[] };
    }
  | { readonly event: "entries"; readonly data: readonly TimelineEntry[] }
  | {
      readonly event: "receipt";
      readonly data: { readonly revocation: string; readonly receipt: ReceiptRow; readonly settled: boolean };
    }
  | { readonly event: "gap"; readonly data: { readonly cursor: string } }
  | { readonly event: "feed"; readonly data: { readonly live: boolean } };

/** `GET /api/me` */
export interface Me {
  readonly name: string;
  readonly role: "viewer" | "operator";
  /** The handle of the sign-in itself, so that who ends many can leave it out. */
  readonly session: Handle;
  readonly node: string;
  readonly version: string;
}

/** Every answer of 4xx and 5xx: RFC 9457. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail?: string;
}
