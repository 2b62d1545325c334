/** `holdfast/web`: web sessions with the embedded store as the default, and a near cache in front of shared ones. */
import type { Json } from "./kernel/index.ts";
import type { Sessions, SessionsOptions } from "./mechanisms/web/index.ts";
import { settings } from "./mechanisms/web/options.ts";
import { openSessions } from "./mechanisms/web/sessions.ts";
import { lmdb } from "./store/lmdb/index.ts";
import { nearCache } from "./store/near/index.ts";

export type { Handle, JournalEntry, Kernel, SessionStore } from "./kernel/index.ts";
export { createKernel, HoldfastError, isHoldfastError, parseHandle, PHASES, Secret } from "./kernel/index.ts";
export * from "./mechanisms/web/index.ts";

/**
 * Web sessions for an application: on LMDB in `./data` unless a `store` or a `kernel` is given.
 * @throws HoldfastError `invalid-argument` for an option that makes no sense, naming it.
 */
export function createSessions<Data extends Json = Json>(
  options: SessionsOptions & { readonly initial?: Data } = {},
): Sessions<Data> {
  // Before anything is opened: a typo must not leave a folder behind.
  settings(options);
  if (options.kernel !== undefined) return openSessions(options, false);
  const store = options.store ?? lmdb({ path: "./data" });
  const near = store.reach === "process" ? store : nearCache(store);
  return openSessions({ ...options, store: near }, options.store === undefined);
}
