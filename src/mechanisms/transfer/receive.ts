import type { Clock } from "../../kernel/index.ts";
import type { Body } from "./body.ts";
import { ChecksumMeter, parseUploadChecksum } from "./protocol/checksum.ts";
import type { ChecksumDemand } from "./protocol/checksum.ts";
import type { Fault } from "./protocol/messages.ts";
import type { UploadWriter } from "./storage/storage.ts";

/** What a request's content is written to. */
export interface Sink {
  readonly writer: UploadWriter;
  /** Commits what was appended and makes the new offset known. One at a time. */
  commit(change?: { readonly provisional?: boolean }): Promise<void>;
}

export interface ReceiveOptions {
  readonly clock: Clock;
  readonly commitBytes: number;
  readonly commitMs: number;
  readonly idleProgressMs: number;
  readonly minBytesPerSecond: number;
  /** The upload may not grow beyond this. */
  readonly limit: number;
  readonly checksum?: ChecksumDemand;
  readonly onBytes?: () => void;
}

export type Received =
  /** All of the content has arrived and is appended; what is not committed yet the caller commits. */
  | { readonly end: "complete" }
  /** It broke off; what had arrived is committed. */
  | { readonly end: "cut" | "stopped" }
  | { readonly end: "refused"; readonly fault: Fault };

/** Appends content as it arrives, committing on the way. Faults of the storage are thrown, after what can be kept is. */
export async function receive(sink: Sink, body: Body, options: ReceiveOptions): Promise<Received> {
  const { writer } = sink;
  const meter = options.checksum === undefined ? undefined : new ChecksumMeter(options.checksum);
  // Bytes that a checksum has yet to vouch for must not survive a crash.
  if (meter !== undefined) await sink.commit({ provisional: true });
  const pace = new Pace(options, () => body.stop());
  const commits = new CommitPace(sink, options, meter === undefined, () => body.stop());
  let refusal: Fault | undefined;
  let end: "complete" | "cut" | "stopped" | undefined;
  try {
    while (end === undefined) {
      const next = await body.read();
      if ("end" in next) {
        end = next.end;
        break;
      }
      pace.moved(next.bytes);
      options.onBytes?.();
      if (writer.written + next.bytes > options.limit) {
        refusal = { fault: "too-large", limit: options.limit };
        body.stop();
        break;
      }
      if (meter !== undefined) for (const chunk of next.chunks) meter.update(chunk);
      await commits.appending(() => writer.append(next.chunks));
    }
  } catch (error) {
    // The disk is full, perhaps: what went in before is kept, so that the peer need not send it again.
    if (meter === undefined) await keep(sink, commits);
    throw error;
  } finally {
    pace.done();
    await commits.done();
  }
  if (meter !== undefined && options.checksum !== undefined) {
    const wrong =
      end === "complete" ? judgeChecksum(meter, options.checksum, body, writer.checkpoint.offset) : undefined;
    if (end !== "complete" || wrong !== undefined) await writer.truncate();
    if (wrong !== undefined) return { end: "refused", fault: wrong };
  }
  if (end !== "complete" && writer.written > writer.checkpoint.offset) await sink.commit();
  if (refusal !== undefined) return { end: "refused", fault: refusal };
  if (pace.tooSlow) return { end: "refused", fault: { fault: "too-slow" } };
  return { end: end ?? "stopped" };
}

async function keep(sink: Sink, commits: CommitPace): Promise<void> {
  try {
    await commits.done();
    if (sink.writer.written > sink.writer.checkpoint.offset) await sink.commit();
  } catch {
    // The device takes nothing at all any more; the fault that is about to be thrown says so.
  }
}

function judgeChecksum(
  meter: ChecksumMeter,
  demand: ChecksumDemand,
  body: Body,
  offset: number,
): Fault | undefined {
  if (demand.when === "known") return meter.matches(demand.sums) ? undefined : { fault: "checksum", offset };
  const field = body.trailer("upload-checksum");
  if (field === undefined)
    return { fault: "malformed", why: "the Upload-Checksum announced for the trailers did not come" };
  const sums = parseUploadChecksum(field);
  if ("fault" in sums) return sums;
  return meter.matches(sums) ? undefined : { fault: "checksum", offset };
}

/** Stops a request whose content stands still, or creeps. */
class Pace {
  tooSlow = false;
  readonly #options: ReceiveOptions;
  readonly #stop: () => void;
  #bytes = 0;
  #cancel: () => void = () => {};

  constructor(options: ReceiveOptions, stop: () => void) {
    this.#options = options;
    this.#stop = stop;
    this.#arm();
  }

  moved(bytes: number): void {
    this.#bytes += bytes;
  }

  done(): void {
    this.#cancel();
  }

  #arm(): void {
    const { clock, idleProgressMs, minBytesPerSecond } = this.#options;
    this.#cancel = clock.after(idleProgressMs, () => {
      if (this.#bytes <= (minBytesPerSecond * idleProgressMs) / 1000) {
        this.tooSlow = true;
        this.#stop();
        return;
      }
      this.#bytes = 0;
      this.#arm();
    });
  }
}

/** Commits beside the appending: every so many bytes, and every so many ms while something waits for it. */
class CommitPace {
  readonly #sink: Sink;
  readonly #options: ReceiveOptions;
  readonly #enabled: boolean;
  readonly #stop: () => void;
  #running: Promise<void> | undefined;
  #startedAt: number;
  #appending = false;
  #due = false;
  #cancel: (() => void) | undefined;
  #failure: { readonly error: unknown } | undefined;

  constructor(sink: Sink, options: ReceiveOptions, enabled: boolean, stop: () => void) {
    this.#sink = sink;
    this.#options = options;
    this.#enabled = enabled;
    this.#stop = stop;
    this.#startedAt = sink.writer.written;
  }

  async appending(append: () => Promise<void>): Promise<void> {
    this.#appending = true;
    try {
      await append();
    } finally {
      this.#appending = false;
    }
    if (!this.#enabled) return;
    if (this.#due || this.#sink.writer.written - this.#startedAt >= this.#options.commitBytes) this.#commit();
    this.#cancel ??= this.#options.clock.after(this.#options.commitMs, () => {
      this.#cancel = undefined;
      if (this.#appending) this.#due = true;
      else this.#commit();
    });
  }

  #commit(): void {
    if (this.#running !== undefined || this.#failure !== undefined) return;
    this.#due = false;
    this.#startedAt = this.#sink.writer.written;
    this.#running = this.#sink
      .commit()
      .catch((error: unknown) => {
        this.#failure = { error };
        this.#stop();
      })
      .finally(() => (this.#running = undefined));
  }

  async done(): Promise<void> {
    this.#cancel?.();
    await this.#running;
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
