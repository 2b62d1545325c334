import type { AppendOutcome, LogAck, LogBatch } from "../kernel/log.ts";
import type { Handle } from "../kernel/secret.ts";

export type SendBatch = (
  handle: Handle,
  epoch: number,
  batch: LogBatch,
  ack: LogAck,
) => Promise<AppendOutcome>;

/**
 * Appends of one stream, one after the other: while one is under way, those that come make one batch together. So their
 * order does not depend on the way to the store, and a slow store gets few large batches.
 */
export class StreamLanes {
  readonly #send: SendBatch;
  readonly #lanes = new Map<Handle, Waiting[]>();

  constructor(send: SendBatch) {
    this.#send = send;
  }

  append(handle: Handle, epoch: number, batch: LogBatch, ack: LogAck): Promise<AppendOutcome> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { epoch, batch, ack, resolve, reject };
      const lane = this.#lanes.get(handle);
      if (lane !== undefined) {
        lane.push(waiting);
        return;
      }
      const queue = [waiting];
      this.#lanes.set(handle, queue);
      void this.#drain(handle, queue);
    });
  }

  async #drain(handle: Handle, queue: Waiting[]): Promise<void> {
    for (;;) {
      const group = together(queue);
      const [first] = group;
      if (first === undefined) break;
      try {
        const ack = group.some((one) => one.ack === "durable") ? "durable" : first.ack;
        const outcome = await this.#send(handle, first.epoch, merged(group), ack);
        for (const one of group) one.resolve(outcome);
      } catch (error) {
        for (const one of group) one.reject(error);
      }
    }
    this.#lanes.delete(handle);
  }
}

interface Waiting {
  readonly epoch: number;
  readonly batch: LogBatch;
  readonly ack: LogAck;
  readonly resolve: (outcome: AppendOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** Takes off the queue what follows each other without a break, up to a bound. */
function together(queue: Waiting[]): Waiting[] {
  const [first] = queue;
  if (first === undefined) return [];
  let count = 0;
  let next = first.batch.from;
  let entries = 0;
  for (const { epoch, batch } of queue) {
    entries += batch.entries.length;
    if (epoch !== first.epoch || batch.from !== next || (count > 0 && entries > MOST_ENTRIES)) break;
    next += batch.entries.length;
    count++;
  }
  return queue.splice(0, count);
}

function merged(group: readonly Waiting[]): LogBatch {
  const [first] = group;
  if (first === undefined || group.length === 1) return first?.batch ?? { from: 0, entries: [] };
  const mark = group.findLast((one) => one.batch.mark !== undefined)?.batch.mark;
  return {
    from: first.batch.from,
    entries: group.flatMap((one) => one.batch.entries),
    trim: Math.max(...group.map((one) => one.batch.trim ?? 0)),
    ...(mark !== undefined && { mark }),
  };
}

const MOST_ENTRIES = 2000;
