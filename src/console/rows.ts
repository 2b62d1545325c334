import type { Barrier, JournalEntry, NodeLease, Receipt, SessionRecord } from "../kernel/index.ts";
import { isGraceful } from "../kernel/index.ts";
import type { RevocationRecord } from "../governance/index.ts";
import type {
  LockRow,
  NodeRow,
  ReceiptRow,
  RevocationAnswer,
  SelectorBody,
  SessionRow,
  TimelineEntry,
} from "./contract.ts";

/** A record as the API shows it: everything but its credentials and its data. */
export function sessionRow(record: SessionRecord): SessionRow {
  const { handle, mechanism, state, mode, peer, createdAt, touchedAt, ended, owner } = record;
  return {
    handle,
    mechanism,
    state,
    mode,
    peer,
    createdAt,
    touchedAt,
    ...present(record, [
      "principal",
      "roles",
      "tenant",
      "label",
      "parent",
      "idleAt",
      "absoluteAt",
      "suspendUntil",
    ]),
    ...(owner !== undefined && { node: owner.node }),
    ...(record.checkpoint !== undefined && {
      checkpoint: present(record.checkpoint, ["position", "total", "at"]) as never,
    }),
    ...(ended !== undefined && {
      ended: {
        at: ended.at,
        reason: ended.reason,
        graceful: isGraceful(ended.reason),
        ...present(ended, ["by"]),
      },
    }),
  };
}

export function timelineEntry(entry: JournalEntry): TimelineEntry {
  return present(entry, [
    "cursor",
    "at",
    "phase",
    "event",
    "handle",
    "mechanism",
    "principal",
    "node",
    "by",
    "detail",
  ]) as TimelineEntry;
}

export function receiptRow(receipt: Receipt): ReceiptRow {
  return receipt;
}

export function revocationAnswer(record: RevocationRecord): RevocationAnswer {
  return {
    id: record.id,
    at: record.at,
    by: record.by ?? "",
    reason: record.reason,
    selector: record.selector as SelectorBody,
    settled: record.settled,
    receipts: record.receipts.map(receiptRow),
  };
}

export function lockRow(barrier: Barrier): LockRow {
  const { id, reason, at } = barrier;
  return { id, selector: barrier.selector as SelectorBody, reason, at, ...present(barrier, ["by", "until"]) };
}

export function nodeRow(lease: NodeLease, now: number): NodeRow {
  const { id, startedAt, until } = lease;
  return { id, alive: lease.gone !== true && lease.until > now, startedAt, until, about: lease.about ?? {} };
}

/** The named members that are there. */
function present<T extends object, Name extends keyof T>(
  value: T,
  names: readonly Name[],
): Partial<Pick<T, Name>> {
  const found: Partial<Pick<T, Name>> = {};
  for (const name of names) if (value[name] !== undefined) found[name] = value[name];
  return found;
}
