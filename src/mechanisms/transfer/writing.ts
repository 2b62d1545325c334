import type { Access } from "./access.ts";
import { aboutUpload } from "./access.ts";
import type { Engine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import type { Finisher } from "./finisher.ts";
import type { Clock } from "../../kernel/index.ts";
import type { FinishReply, TransferPolicy } from "./policy.ts";
import { isFault } from "./protocol/messages.ts";
import type { AppendCommand, CreateCommand, Fault, Reply } from "./protocol/messages.ts";
import { receive } from "./receive.ts";
import type { Received } from "./receive.ts";
import type { Room } from "./room.ts";
import type { Upload } from "./upload.ts";
import type { Uploads } from "./uploads.ts";

/** Takes a request's content into an upload: hold, judge, receive, commit, and finish what is whole. */
export class Writing {
  readonly #uploads: Uploads;
  readonly #room: Room;
  readonly #access: Access;
  readonly #finisher: Finisher;
  readonly #policy: TransferPolicy;
  readonly #clock: Clock;

  constructor(parts: {
    uploads: Uploads;
    room: Room;
    access: Access;
    finisher: Finisher;
    policy: TransferPolicy;
    clock: Clock;
  }) {
    this.#uploads = parts.uploads;
    this.#room = parts.room;
    this.#access = parts.access;
    this.#finisher = parts.finisher;
    this.#policy = parts.policy;
    this.#clock = parts.clock;
  }

  /** The reply, or `undefined` when the connection is gone. */
  async write(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: CreateCommand | AppendCommand,
    success: (extra: FinishReply | undefined) => Reply,
  ): Promise<Reply | undefined> {
    let killed = false;
    upload.lastArrivalAt = this.#clock.now();
    const hold = await this.#uploads.hold(upload, () => {
      killed = true;
      exchange.body.stop();
    });
    if (isFault(hold)) return engine.refused(hold);
    try {
      const early = await this.#judge(upload, command);
      if (early !== undefined) return engine.refused(early);
      const received = upload.checkpoint.complete
        ? undefined
        : await this.#receive(exchange, engine, upload, command);
      if (killed) {
        exchange.kill();
        return undefined;
      }
      if (received?.end === "refused") {
        if (
          received.fault.fault === "too-large" &&
          engine.protocol === "ietf" &&
          upload.length !== undefined
        ) {
          // §4.4.2: content beyond the length invalidates the upload resource.
          await this.#uploads.discard(upload, "protocol-error", "content went beyond the length");
          return engine.refused({
            fault: "length",
            why: "the content went beyond the upload's length; the upload is closed",
          });
        }
        return engine.refused(received.fault);
      }
      if (received?.end === "cut" || received?.end === "stopped") {
        // The peer went away after its last byte: nobody is there to hear it, but the file is whole.
        if (isWhole(upload, command)) await this.complete(exchange, upload);
        return undefined;
      }
      const outcome = await this.#conclude(exchange, upload, command);
      if (outcome !== undefined && "fault" in outcome) return engine.refused(outcome);
      return success(outcome);
    } finally {
      await hold.release();
    }
  }

  /** What speaks against a request before its content is looked at. */
  async #judge(upload: Upload, command: CreateCommand | AppendCommand): Promise<Fault | undefined> {
    if (command.act === "create") return undefined;
    const { checkpoint } = upload;
    const offset = checkpoint.complete ? checkpoint.offset : upload.writer.written;
    if (checkpoint.complete) {
      const repeats = command.offset === offset && command.contentBytes === 0;
      return repeats && command.completion === "by-length" ? undefined : { fault: "complete", offset };
    }
    if (command.offset !== offset) return { fault: "offset", expected: offset, provided: command.offset };
    if (command.length !== undefined) {
      if (upload.length !== undefined && upload.length !== command.length) {
        return {
          fault: "length",
          why: `the length was given as ${upload.length} and cannot become ${command.length}`,
        };
      }
      if (command.length < offset) return { fault: "length", why: `${offset} bytes are there already` };
      upload.declareLength(command.length);
    }
    if (upload.length !== undefined && offset + (command.contentBytes ?? 0) > upload.length) {
      return { fault: "too-large", limit: upload.length };
    }
    return (await this.#room.lacks(command.contentBytes ?? 0)) ? { fault: "no-space" } : undefined;
  }

  async #receive(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: CreateCommand | AppendCommand,
  ): Promise<Received> {
    if (command.act === "create" && command.length !== undefined) upload.declareLength(command.length);
    const unlisten =
      engine.tellsProgress && this.#policy.interim
        ? upload.onProgress((offset) => {
            const progress = engine.progress(offset);
            exchange.interim(progress.status, progress.headers);
          })
        : undefined;
    try {
      return await receive(upload, exchange.body, {
        clock: this.#clock,
        commitBytes: this.#policy.commitBytes,
        commitMs: this.#policy.commitMs,
        idleProgressMs: this.#policy.idleProgressMs,
        minBytesPerSecond: this.#policy.minBytesPerSecond,
        limit: Math.min(upload.length ?? Infinity, this.#policy.maxBytes),
        onBytes: () => (upload.lastArrivalAt = this.#clock.now()),
        ...(command.checksum !== undefined && { checksum: command.checksum }),
      });
    } finally {
      unlisten?.();
    }
  }

  /** The request's content has arrived: commit it, and if the upload is whole now, finish it. */
  async #conclude(
    exchange: Exchange,
    upload: Upload,
    command: CreateCommand | AppendCommand,
  ): Promise<FinishReply | undefined | Fault> {
    const whole =
      command.completion === "by-length"
        ? upload.writtenOffset === upload.length
        : command.completion === "with-this-request";
    if (!whole) {
      await upload.commit(command.checksum === undefined ? {} : { provisional: true });
      return undefined;
    }
    if (command.completion === "with-this-request") {
      if (upload.length !== undefined && upload.length !== upload.writtenOffset) {
        await upload.commit();
        return {
          fault: "length",
          why: `the upload was to have ${upload.length} bytes and ends after ${upload.writtenOffset}`,
        };
      }
      upload.declareLength(upload.writtenOffset);
    }
    return this.complete(exchange, upload);
  }

  /** All bytes are there. Asks once more whether it may be, then verifies and finishes. The caller holds the upload. */
  async complete(exchange: Exchange, upload: Upload): Promise<FinishReply | undefined | Fault> {
    const who = await this.#access.authorize(
      { action: "complete", ...aboutUpload(upload) },
      exchange,
      upload,
    );
    if (isFault(who)) {
      await this.#uploads.discard(upload, "refused", "authorization at completion");
      return who;
    }
    return this.#finisher.finish(upload);
  }
}

/** tus: an upload is complete when all of its length is there, whichever request brought it. */
function isWhole(upload: Upload, command: CreateCommand | AppendCommand): boolean {
  return command.completion === "by-length" && upload.writtenOffset === upload.length;
}
