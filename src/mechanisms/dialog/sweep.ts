import type { Handle, Kernel, SessionLog } from "../../kernel/index.ts";
import { isFeedHandle } from "./feed.ts";

/**
 * Drops the streams of dialogs that the store has forgotten: those whose process died between the end of the dialog and the
 * end of its stream. A dialog's record is there before its stream. Returns how many there were.
 */
export async function sweepOrphans(kernel: Kernel, log: SessionLog): Promise<number> {
  let dropped = 0;
  let after: Handle | undefined;
  for (;;) {
    const page = await log.handles(after, PAGE);
    for (const handle of page) {
      if (isFeedHandle(handle) || (await kernel.lookUp(handle, { ended: true })) !== undefined) continue;
      // Nobody can own it any more, whatever epoch it was left with.
      if (await log.drop(handle, Number.MAX_SAFE_INTEGER)) dropped++;
    }
    if (page.length < PAGE) return dropped;
    after = page.at(-1);
  }
}

const PAGE = 500;
