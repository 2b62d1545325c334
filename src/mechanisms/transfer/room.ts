import type { Handle, Json, Kernel } from "../../kernel/index.ts";
import type { TransferPolicy } from "./policy.ts";
import type { TransferStorage } from "./storage/storage.ts";

/** Whether there is room for more: on the storage, and in what a principal may take up. */
export class Room {
  readonly #kernel: Kernel;
  readonly #storage: TransferStorage;
  readonly #policy: TransferPolicy;
  #free: { readonly at: number; readonly bytes: number | undefined } | undefined;

  constructor(kernel: Kernel, storage: TransferStorage, policy: TransferPolicy) {
    this.#kernel = kernel;
    this.#storage = storage;
    this.#policy = policy;
  }

  /** True when `bytes` more would leave less than the watermark. The storage is asked once a second at most. */
  async lacks(bytes: number): Promise<boolean> {
    if (this.#policy.watermarkBytes === 0) return false;
    const now = this.#kernel.clock.now();
    if (this.#free === undefined || now - this.#free.at >= 1_000)
      this.#free = { at: now, bytes: await this.#storage.free() };
    return this.#free.bytes !== undefined && this.#free.bytes - bytes < this.#policy.watermarkBytes;
  }

  /** Why the principal may not begin another upload, counted over its live sessions on every node; or `undefined`. */
  async overQuota(principal: string | undefined, bytes: number): Promise<string | undefined> {
    const { openUploads, reservedBytes } = this.#policy;
    if (principal === undefined || (openUploads === Infinity && reservedBytes === Infinity)) return undefined;
    const usage = await this.#usage(principal);
    if (usage.open + 1 > openUploads) return `${openUploads} unfinished uploads are allowed at a time`;
    if (usage.reservedBytes + bytes > reservedBytes)
      return `${reservedBytes} bytes may be reserved by unfinished uploads`;
    return undefined;
  }

  /** What a principal's unfinished uploads take, over all nodes. */
  async #usage(principal: string): Promise<{ readonly open: number; readonly reservedBytes: number }> {
    let open = 0;
    let reservedBytes = 0;
    let after: Handle | undefined;
    do {
      const page = await this.#kernel.store.list({
        term: `p:${principal}`,
        limit: 1_000,
        ...(after !== undefined && { after }),
      });
      for (const { record } of page.found) {
        if (record.mechanism !== "transfer" || isDownload(record.data)) continue;
        open += 1;
        reservedBytes += record.checkpoint?.total ?? record.checkpoint?.position ?? 0;
      }
      after = page.next;
    } while (after !== undefined);
    return { open, reservedBytes };
  }
}

function isDownload(data: Json): boolean {
  return typeof data === "object" && data !== null && "download" in data;
}
