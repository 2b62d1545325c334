import type { Handle, Kernel, SessionRecord } from "../kernel/index.ts";
import { isHoldfastError } from "../kernel/index.ts";

/**
 * What this node still carries when its listeners are done: what can be resumed is suspended, so that its peer finds it
 * on another node, and the rest is told goodbye.
 */
export async function disposeOfOwn(kernel: Kernel): Promise<{ suspended: number; ended: number }> {
  const done = { suspended: 0, ended: 0 };
  let after: Handle | undefined;
  do {
    const page = await kernel.store.list({
      term: `n:${kernel.node}`,
      limit: 200,
      ...(after !== undefined && { after }),
    });
    await Promise.all(
      page.found.map(async ({ record }) => {
        if (record.state === "suspended") return;
        if (await isSuspended(kernel, record)) done.suspended++;
        else if (
          (await kernel.end(record, { reason: "bye", by: "holdfast", detail: { cause: "drain" } })) !==
          undefined
        )
          done.ended++;
      }),
    );
    after = page.next;
  } while (after !== undefined);
  return done;
}

async function isSuspended(kernel: Kernel, record: SessionRecord): Promise<boolean> {
  if (record.resumableMs === undefined || record.state !== "established") return false;
  try {
    await kernel.suspend(record, {
      detail: { cause: "drain" },
      ...(record.owner !== undefined && { fence: record.owner }),
    });
    return true;
  } catch (error) {
    // Its peer was faster, on another node or by ending it.
    if (isHoldfastError(error, "session-fenced") || isHoldfastError(error, "session-ended")) return true;
    throw error;
  }
}
