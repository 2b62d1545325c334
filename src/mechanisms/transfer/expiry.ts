import type { Handle, Kernel } from "../../kernel/index.ts";
import type { TransferPolicy } from "./policy.ts";
import type { TransferStorage } from "./storage/storage.ts";
import { parseUploadId } from "./storage/storage.ts";
import { parseInfo } from "./upload-info.ts";

/**
 * What becomes of bytes whose session has ended. The kernel's deadlines decide when that is; here the bytes follow, in
 * two phases, and never those of a complete upload.
 */
export class Expiry {
  readonly #kernel: Kernel;
  readonly #storage: TransferStorage;
  readonly #policy: TransferPolicy;

  constructor(kernel: Kernel, storage: TransferStorage, policy: TransferPolicy) {
    this.#kernel = kernel;
    this.#storage = storage;
    this.#policy = policy;
  }

  /** First phase, for one session that has ended. True when its bytes are on their way out. */
  async follow(handle: Handle): Promise<boolean> {
    const found = await this.#kernel.store.get(handle);
    const data = found?.record.data;
    const name = typeof data === "object" && data !== null && "upload" in data ? data["upload"] : undefined;
    const id = typeof name === "string" ? parseUploadId(name) : undefined;
    if (id === undefined || found?.record.ended?.reason === "finished") return false;
    return this.#storage.remove(id, this.#kernel.clock.now(), { unlessComplete: true });
  }

  /**
   * One pass over everything stored: catches sessions that ended while nobody was listening, frees what was removed
   * long enough ago. Several processes may do it at once.
   */
  async sweep(): Promise<{ readonly removed: number; readonly freed: number; readonly forgotten: number }> {
    const now = this.#kernel.clock.now();
    let removed = 0;
    for (const id of await this.#storage.list()) {
      const recovery = await this.#storage.recover(id);
      if (recovery.state !== "found" || recovery.checkpoint.complete) continue;
      const info = parseInfo(recovery.info);
      if (info === undefined) continue;
      const over = await this.#isOver(info.handle, info.expiresAt, recovery.checkpoint.at, now);
      if (over && (await this.#storage.remove(id, now, { unlessComplete: true }))) removed += 1;
    }
    const swept = await this.#storage.sweep({
      before: now - this.#policy.graceMs,
      forget: now - this.#policy.forgetMs,
    });
    return { removed, ...swept };
  }

  async #isOver(
    handle: Handle,
    expiresAt: number | undefined,
    touchedAt: number,
    now: number,
  ): Promise<boolean> {
    if ((await this.#kernel.lookUp(handle)) !== undefined) return false;
    if ((await this.#kernel.lookUp(handle, { ended: true })) !== undefined) return true;
    // No trace of the session. One kept in memory may have been lost with its process: then the bytes' own age decides.
    return now - touchedAt >= this.#policy.expiresMs || now >= (expiresAt ?? Infinity);
  }
}
