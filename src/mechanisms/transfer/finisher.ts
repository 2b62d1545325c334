import { HoldfastError } from "../../kernel/index.ts";
import type { FinishReply, FinishedFile, TransfersOptions } from "./policy.ts";
import type { Fault } from "./protocol/messages.ts";
import type { TransferStorage } from "./storage/storage.ts";
import type { Upload } from "./upload.ts";
import type { Uploads } from "./uploads.ts";

/** The last step of an upload: everything is verified, made durable as complete, handed over, and its session ended. */
export class Finisher {
  readonly #storage: TransferStorage;
  readonly #uploads: Uploads;
  readonly #onFinish: TransfersOptions["onFinish"];

  constructor(storage: TransferStorage, uploads: Uploads, onFinish: TransfersOptions["onFinish"]) {
    this.#storage = storage;
    this.#uploads = uploads;
    this.#onFinish = onFinish;
  }

  /** Called by whoever holds the upload. What the application wants to say to the peer, or why it is refused. */
  async finish(upload: Upload): Promise<FinishReply | undefined | Fault> {
    if (!upload.checkpoint.complete) {
      const digest = await upload.writer.verify();
      if (digest === undefined) {
        await this.#uploads.discard(
          upload,
          "crashed",
          "the stored bytes are not those that were acknowledged",
        );
        return { fault: "gone", why: "what was stored has been damaged" };
      }
      if (upload.info.sha256 !== undefined && Buffer.from(digest).toString("base64") !== upload.info.sha256) {
        await this.#uploads.discard(
          upload,
          "protocol-error",
          "the whole does not match the digest that was announced",
        );
        return { fault: "digest" };
      }
      await upload.commit({ complete: true });
    }
    return this.handOver(upload);
  }

  /** The session ends only after the application has the file: if we die in between, it is handed over again. */
  async handOver(upload: Upload): Promise<FinishReply | undefined> {
    if (upload.record === undefined) return undefined;
    const hook = upload.info.concat === "partial" ? undefined : this.#onFinish;
    const reply = hook === undefined ? undefined : await hook(await this.#file(upload));
    await this.#uploads.finish(upload);
    return reply ?? undefined;
  }

  async #file(upload: Upload): Promise<FinishedFile> {
    const { id, info, checkpoint } = upload;
    const path = await this.#storage.path?.(id);
    const storage = this.#storage;
    if (checkpoint.digestFrom !== 0)
      throw new HoldfastError("store-corrupt", "A complete upload's digest covers all of it.");
    return {
      id,
      handle: upload.record?.handle ?? info.handle,
      bytes: checkpoint.offset,
      sha256: checkpoint.digest,
      metadata: info.metadata,
      ...(info.name !== undefined && { name: info.name }),
      ...(info.type !== undefined && { type: info.type }),
      ...(info.principal !== undefined && { principal: info.principal }),
      ...(path !== undefined && { path }),
      read: (span = { start: 0, end: checkpoint.offset }) => storage.read(id, span),
      remove: async () => {
        await storage.remove(id, Date.now());
      },
    };
  }
}
