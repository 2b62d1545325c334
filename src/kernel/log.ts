import type { Handle } from "./secret.ts";

/**
 * Where streams live: what a mechanism appends per message and must not lose (a dialog's outbox). One stream a session,
 * its entries numbered from 0 without holes, and beside them one `mark`: the latest state of the session's machine,
 * replaced in the same step in which entries are appended.
 *
 * Fenced: whoever opened a stream with the highest epoch writes to it; everybody else is told `fenced`. The epoch is the
 * owner's in the session's record, so that a process whose session was taken over cannot add to it.
 *
 * Methods reject with `store-unavailable` in bounded time when the system below is down, with `unsupported` when it
 * cannot give the acknowledgement asked for, and with `store-closed` after `close()`.
 */
export interface SessionLog {
  /** `memory`, `embedded`, `redis`, `postgres`, or a name of your own. */
  readonly kind: string;
  /** Who can go on with a stream: this process, the machine, or every node. */
  readonly reach: "process" | "machine" | "network";

  /** Takes the stream over for `epoch` (the same again is fine) and says where it stands; it begins here if it is new. */
  open(handle: Handle, epoch: number): Promise<StreamState | "fenced">;
  /**
   * Adds entries and replaces the mark, all or nothing, and forgets entries below `trim`. Batches of one stream may be
   * under way together; they take effect in the order of the calls.
   */
  append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome>;
  /** Entries from `from` (or the first there is) on, in order and without holes, as many as fit; empty behind the end. */
  read(handle: Handle, from: number, limits: ReadLimits): Promise<readonly LogEntry[]>;
  /** Forgets the stream wholly, for `epoch` or a later one of its owner. False when it is fenced; also true when absent. */
  drop(handle: Handle, epoch: number): Promise<boolean>;
  /** Streams in the order of their handles, for finding those whose session is gone. */
  handles(after: Handle | undefined, limit: number): Promise<readonly Handle[]>;

  /** What the log did and holds, for metrics. Names are stable per log. */
  stats(): Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/**
 * When an append is acknowledged. `memory`: it is accepted and can be read in this process. `stored`: a kill -9 of this
 * process does not undo it. `durable`: nor does a power loss.
 */
export type LogAck = "memory" | "stored" | "durable";

export interface LogBatch {
  /** The number of the first entry: where the stream ends now. */
  readonly from: number;
  readonly entries: readonly Uint8Array[];
  readonly mark?: Uint8Array;
  /** Entries below are not needed any more. They may be seen for a while yet. */
  readonly trim?: number;
}

/** `misplaced`: the stream does not end at `from`; nothing was written. */
export type AppendOutcome = "appended" | "fenced" | "misplaced";

export interface StreamState {
  /** The lowest number that can be read; `next` when there are no entries. */
  readonly first: number;
  /** The number the next entry gets. */
  readonly next: number;
  readonly mark?: Uint8Array;
}

export interface ReadLimits {
  readonly entries: number;
  /** At least one entry is given, however large. */
  readonly bytes: number;
}

export interface LogEntry {
  readonly number: number;
  readonly bytes: Uint8Array;
}
