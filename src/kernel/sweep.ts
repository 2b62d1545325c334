import { expiryOf } from "./judge.ts";
import type { Kernel } from "./kernel.ts";
import type { SessionRecord } from "./record.ts";

/**
 * Ends what has expired and forgets what ended long ago, a page at a time. Several nodes may do it at once: every step
 * is conditional, so each session is ended exactly once. Returns how many this pass dealt with.
 */
export async function sweepOnce(kernel: Kernel): Promise<number> {
  let done = 0;
  for (;;) {
    const now = kernel.clock.now();
    const due = await kernel.store.due(now, PAGE);
    const results = await Promise.all(due.map((record) => settle(kernel, record, now)));
    const settled = results.filter(Boolean).length;
    done += settled;
    if (due.length < PAGE || settled === 0) return done;
  }
}

async function settle(kernel: Kernel, record: SessionRecord, now: number): Promise<boolean> {
  if (record.ended !== undefined) return record.ended.purgeAt <= now && kernel.store.purge(record);
  const reason = expiryOf(record, now);
  return reason !== undefined && (await kernel.expire(record, reason)) !== undefined;
}

const PAGE = 200;
