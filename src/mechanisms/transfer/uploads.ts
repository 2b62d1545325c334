import { HoldfastError, isHoldfastError } from "../../kernel/index.ts";
import type { Handle, Kernel, Peer } from "../../kernel/index.ts";
import type { Background } from "./background.ts";
import type { Room } from "./room.ts";
import type { TransferPolicy, Verdict } from "./policy.ts";
import { ENDED_SENTENCES } from "./policy.ts";
import type { CreateCommand, Fault } from "./protocol/messages.ts";
import type { Checkpoint, TransferStorage, UploadId } from "./storage/storage.ts";
import { Upload } from "./upload.ts";
import type { Interruption } from "./upload.ts";
import { encodeInfo, makeInfo, mintToken, parseInfo, uploadIdOf } from "./upload-info.ts";
import type { UploadInfo } from "./upload-info.ts";

/** A hold on an upload: session and writer are ours, and nobody else in this process writes. */
export interface Hold {
  readonly upload: Upload;
  readonly signal: AbortSignal;
  release(): Promise<void>;
}

export interface Created {
  readonly token: string;
  readonly upload: Upload;
}

/** The uploads of this process: made, found again, held. */
export class Uploads {
  readonly #kernel: Kernel;
  readonly #storage: TransferStorage;
  readonly #policy: TransferPolicy;
  readonly #room: Room;
  readonly #background: Background;
  /** By id, the least recently used first. Leaving it costs an upload a new segment when it goes on, nothing else. */
  readonly #known = new Map<UploadId, Upload>();
  readonly #byHandle = new Map<Handle, UploadId>();
  readonly #finding = new Map<UploadId, Promise<Upload | Fault>>();
  readonly #lingering = new Map<Upload, () => void>();

  constructor(parts: {
    kernel: Kernel;
    storage: TransferStorage;
    policy: TransferPolicy;
    room: Room;
    background: Background;
  }) {
    this.#kernel = parts.kernel;
    this.#storage = parts.storage;
    this.#policy = parts.policy;
    this.#room = parts.room;
    this.#background = parts.background;
  }

  async create(
    command: CreateCommand,
    who: Verdict & { allow: true },
    how: { readonly protocol: "tus" | "ietf"; readonly peer: Peer; readonly partIds?: readonly UploadId[] },
  ): Promise<Created | Fault> {
    const wanted = command.length ?? command.contentBytes ?? 0;
    const short = await this.#room.lacks(wanted);
    if (short) return { fault: "no-space" };
    const excess = await this.#room.overQuota(who.principal, wanted);
    if (excess !== undefined) return { fault: "quota", why: excess };
    const token = mintToken();
    const id = uploadIdOf(token);
    if (id === undefined) throw new HoldfastError("invalid-argument", "A fresh token names an upload.");
    const { expiresMs, maxAgeMs } = this.#policy;
    const now = this.#kernel.clock.now();
    const draft = makeInfo(command, { handle: NO_HANDLE, protocol: how.protocol, principal: who.principal });
    const established = await this.#kernel.establish({
      mechanism: "transfer",
      mode: "simplex",
      own: true,
      credential: false,
      idleMs: expiresMs,
      resumableMs: expiresMs,
      ...(Number.isFinite(maxAgeMs) && { absoluteMs: maxAgeMs }),
      peer: how.peer,
      checkpoint: { position: 0, ...(command.length !== undefined && { total: command.length }) },
      data: { upload: id, protocol: how.protocol, ...(draft.type !== undefined && { type: draft.type }) },
      ...(draft.name !== undefined && { label: draft.name }),
      ...(who.principal !== undefined && { principal: who.principal }),
      ...(who.parent !== undefined && { parent: who.parent }),
      ...(who.tenant !== undefined && { tenant: who.tenant }),
    });
    const { record } = established;
    const info: UploadInfo = {
      ...draft,
      handle: record.handle,
      ...(record.principal !== undefined && { principal: record.principal }),
      ...(Number.isFinite(maxAgeMs) && { expiresAt: now + maxAgeMs }),
    };
    try {
      const made = {
        info: encodeInfo(info),
        ...(command.length !== undefined && { length: command.length }),
        fence: record.owner?.epoch ?? 1,
        at: now,
      };
      const claim = how.partIds === undefined ? undefined : await this.#storage.concat(id, made, how.partIds);
      if (claim !== undefined && claim.state !== "claimed") {
        await this.#kernel.end(record, { reason: "refused" });
        return { fault: "part", why: "a part went away while the parts were joined" };
      }
      const writer = claim?.writer ?? (await this.#storage.create(id, made));
      if (writer === undefined)
        throw new HoldfastError("store-unavailable", "The storage already has an upload of a fresh id.");
      const upload = new Upload(this.#kernel, id, info, writer.checkpoint, record);
      upload.adopt(writer);
      upload.foundCurrentAt = now;
      this.#remember(upload);
      this.#linger(upload);
      return { token, upload };
    } catch (error) {
      await this.#kernel.end(record, { reason: "crashed", detail: { cause: "storage" } });
      throw error;
    }
  }

  /** The upload a token names, as far as it can be known without claiming it. */
  async find(token: string): Promise<Upload | Fault> {
    const id = uploadIdOf(token);
    if (id === undefined) return { fault: "absent" };
    const known = this.#known.get(id);
    if (known !== undefined && known.turns.busy) return known;
    // Requests that look for it at the same moment have to find the same one, or each would have turns of its own.
    const looking = this.#finding.get(id) ?? this.#look(id, known).finally(() => this.#finding.delete(id));
    this.#finding.set(id, looking);
    return looking;
  }

  async #look(id: UploadId, known: Upload | undefined): Promise<Upload | Fault> {
    if (known?.claimed !== undefined && (await known.claimed.current())) {
      known.foundCurrentAt = this.#kernel.clock.now();
      return this.#standing(id, known.info, known.checkpoint, known);
    }
    const recovery = await this.#storage.recover(id);
    if (recovery.state === "absent") return { fault: "absent" };
    if (recovery.state === "gone") return { fault: "gone", why: "the upload has been removed" };
    if (recovery.state === "lost")
      return this.#deactivate(id, known, `what was stored has been damaged (${recovery.why})`);
    const info = parseInfo(recovery.info);
    if (info === undefined) return { fault: "absent" };
    return this.#standing(id, info, recovery.checkpoint, known);
  }

  async #standing(
    id: UploadId,
    info: UploadInfo,
    checkpoint: Checkpoint,
    known: Upload | undefined,
  ): Promise<Upload | Fault> {
    const record = await this.#kernel.lookUp(info.handle);
    if (record === undefined && !checkpoint.complete) {
      const ended = await this.#kernel.lookUp(info.handle, { ended: true });
      const revived = ended === undefined ? await this.#revive(id, info, checkpoint) : undefined;
      if (revived !== undefined) return revived;
      this.#forget(id);
      return {
        fault: "gone",
        why:
          ended?.ended === undefined ? "the upload's session is over" : ENDED_SENTENCES[ended.ended.reason],
      };
    }
    // What the session's record says was acknowledged, and acknowledged bytes do not come back by asking for them again.
    if (record !== undefined && (record.checkpoint?.position ?? 0) > checkpoint.offset) {
      return this.#deactivate(id, known, "bytes that had been acknowledged are not there any more");
    }
    const upload = known ?? new Upload(this.#kernel, id, info, checkpoint, record);
    upload.record = record;
    if (checkpoint.offset >= upload.checkpoint.offset) upload.checkpoint = checkpoint;
    if (checkpoint.length !== undefined) upload.declareLength(checkpoint.length);
    this.#remember(upload);
    return upload;
  }

  /** Sessions of a store that is this process's memory end with the process; the bytes on disk need not. */
  async #revive(id: UploadId, info: UploadInfo, checkpoint: Checkpoint): Promise<Upload | undefined> {
    const now = this.#kernel.clock.now();
    if (this.#kernel.store.reach !== "process" || checkpoint.complete) return undefined;
    if (now - checkpoint.at >= this.#policy.expiresMs || now >= (info.expiresAt ?? Infinity))
      return undefined;
    const known = this.#known.get(id);
    if (known?.record !== undefined && known.record.handle !== info.handle) {
      const record = await this.#kernel.lookUp(known.record.handle);
      if (record === undefined) return undefined;
      known.record = record;
      if (checkpoint.offset >= known.checkpoint.offset) known.checkpoint = checkpoint;
      return known;
    }
    const { record } = await this.#kernel.establish({
      mechanism: "transfer",
      mode: "simplex",
      credential: false,
      idleMs: this.#policy.expiresMs,
      resumableMs: this.#policy.expiresMs,
      ...(info.expiresAt !== undefined && { absoluteMs: info.expiresAt - now }),
      checkpoint: {
        position: checkpoint.offset,
        ...(checkpoint.length !== undefined && { total: checkpoint.length }),
      },
      data: { upload: id, protocol: info.protocol, revived: true },
      ...(info.name !== undefined && { label: info.name }),
      ...(info.principal !== undefined && { principal: info.principal }),
    });
    const upload = new Upload(this.#kernel, id, info, checkpoint, record);
    this.#remember(upload);
    return upload;
  }

  /**
   * Waits for whoever writes to let go, makes session and writer ours, and answers for as long as the hold lasts to
   * revocation and to a take-over by another node. `onInterrupt` runs once when the hold has to end.
   */
  async hold(
    upload: Upload,
    onInterrupt: (why: Interruption) => void | Promise<void>,
  ): Promise<Hold | Fault> {
    this.#unlinger(upload);
    const turn = await upload.turns.take();
    let interrupted: Promise<void> | undefined;
    let tellReleased: () => void = () => {};
    const released = new Promise<void>((resolve) => (tellReleased = resolve));
    let running = false;
    turn.signal.addEventListener("abort", () => {
      interrupted ??= Promise.resolve(onInterrupt(turn.signal.reason as Interruption));
      this.#background.run(interrupted);
    });
    const release = async (): Promise<void> => {
      upload.detach();
      upload.detach = () => {};
      if (this.#known.get(upload.id) === upload) this.#linger(upload);
      else this.#background.run(upload.claimed?.release());
      turn.release();
      tellReleased();
      await interrupted;
    };
    try {
      if (turn.signal.aborted) {
        await release();
        return SUPERSEDED;
      }
      const fault = await this.#takeOver(upload);
      if (fault !== undefined) {
        await release();
        return fault;
      }
      if (upload.record !== undefined) {
        upload.detach = await this.#kernel.attach(upload.record, {
          close: async (cause) => {
            upload.turns.interrupt(cause.kind === "ended" ? "ended" : "taken-over");
            // Closed before we had begun: there is no connection yet that could go on serving.
            if (running) await released;
          },
        });
      }
      if (turn.signal.aborted) {
        await release();
        return turn.signal.reason === "ended"
          ? { fault: "gone", why: "the upload's session is over" }
          : SUPERSEDED;
      }
      running = true;
      return { upload, signal: turn.signal, release };
    } catch (error) {
      await release();
      throw error;
    }
  }

  async #takeOver(upload: Upload): Promise<Fault | undefined> {
    const { record } = upload;
    if (record === undefined) return undefined;
    const mine = record.owner?.node === this.#kernel.node && record.state === "established";
    // Looked at a moment ago; and a commit looks again before anything is acknowledged.
    const fresh = this.#kernel.clock.now() - upload.foundCurrentAt < FRESH_MS;
    if (mine && upload.claimed !== undefined && (fresh || (await upload.claimed.current()))) return undefined;
    try {
      if (!mine) upload.record = await this.#kernel.resume(record);
    } catch (error) {
      if (isHoldfastError(error, "session-ended"))
        return { fault: "gone", why: "the upload's session is over" };
      throw error;
    }
    await upload.claimed?.release();
    const claim = await this.#storage.claim(upload.id, upload.record?.owner?.epoch ?? 1);
    if (claim.state === "claimed") {
      upload.adopt(claim.writer);
      return undefined;
    }
    upload.adopt(undefined);
    if (claim.state === "lost")
      return this.#deactivate(upload.id, upload, `what was stored has been damaged (${claim.why})`);
    return claim.state === "gone"
      ? { fault: "gone", why: "the upload has been removed" }
      : { fault: "absent" };
  }

  /** §4.1.1 of the draft: state that was lost must never be papered over; the upload is closed for good. */
  async #deactivate(id: UploadId, known: Upload | undefined, why: string): Promise<Fault> {
    await this.#storage.remove(id, this.#kernel.clock.now());
    if (known?.record !== undefined)
      await this.#kernel.end(known.record, { reason: "crashed", detail: { cause: why } });
    this.#forget(id);
    return { fault: "gone", why };
  }

  async discard(
    upload: Upload,
    reason: "bye" | "refused" | "crashed" | "protocol-error",
    why?: string,
  ): Promise<void> {
    await this.#storage.remove(upload.id, this.#kernel.clock.now());
    await this.#settle(upload, reason, why);
  }

  /** The file has been handed over: its session is done. */
  async finish(upload: Upload): Promise<void> {
    await this.#settle(upload, "finished");
  }

  async #settle(
    upload: Upload,
    reason: "bye" | "refused" | "crashed" | "protocol-error" | "finished",
    why?: string,
  ): Promise<void> {
    const { record } = upload;
    this.#forget(upload.id);
    upload.record = undefined;
    upload.detach();
    // Nobody has to wait until its files are closed.
    this.#background.run(upload.claimed?.release());
    if (record !== undefined)
      await this.#kernel.end(record, { reason, ...(why !== undefined && { detail: { cause: why } }) });
  }

  /** Hears from the kernel that a session has ended; the upload's bytes follow it, unless they are a finished file. */
  ended(handle: Handle): void {
    const id = this.#byHandle.get(handle);
    const upload = id === undefined ? undefined : this.#known.get(id);
    if (upload === undefined) return;
    this.#forget(upload.id);
    this.#background.run(upload.turns.idle().then(() => upload.claimed?.release()));
  }

  /** Lets every request go, commits what it had, and suspends the sessions, so that another process can go on. */
  async close(): Promise<void> {
    for (const upload of this.#known.values()) upload.turns.interrupt("closing");
    for (const upload of this.#known.values()) await upload.turns.idle();
    for (const [upload, cancel] of this.#lingering) {
      cancel();
      await this.#suspend(upload);
    }
    this.#lingering.clear();
    for (const upload of this.#known.values()) await upload.claimed?.release();
    this.#known.clear();
  }

  #remember(upload: Upload): void {
    this.#known.delete(upload.id);
    this.#known.set(upload.id, upload);
    if (upload.record !== undefined) this.#byHandle.set(upload.record.handle, upload.id);
    for (const [id, one] of this.#known) {
      if (this.#known.size <= KNOWN_UPLOADS) break;
      if (one.turns.busy || this.#lingering.has(one)) continue;
      this.#known.delete(id);
      if (one.record !== undefined) this.#byHandle.delete(one.record.handle);
      this.#background.run(one.claimed?.release());
    }
  }

  #forget(id: UploadId): void {
    const upload = this.#known.get(id);
    if (upload !== undefined) this.#unlinger(upload);
    if (upload?.record !== undefined) this.#byHandle.delete(upload.record.handle);
    this.#known.delete(id);
    if (upload !== undefined && !upload.turns.busy) this.#background.run(upload.claimed?.release());
  }

  /** Two requests that follow each other closely are one stay of the peer; only after a pause is the session suspended. */
  #linger(upload: Upload): void {
    this.#unlinger(upload);
    if (upload.record === undefined) return;
    const cancel = this.#kernel.clock.after(this.#policy.lingerMs, () => {
      this.#lingering.delete(upload);
      this.#background.run(this.#suspend(upload));
    });
    this.#lingering.set(upload, cancel);
  }

  #unlinger(upload: Upload): void {
    this.#lingering.get(upload)?.();
    this.#lingering.delete(upload);
  }

  async #suspend(upload: Upload): Promise<void> {
    const { record } = upload;
    if (
      upload.turns.busy ||
      record === undefined ||
      record.state !== "established" ||
      record.owner === undefined
    )
      return;
    await upload.claimed?.release();
    try {
      upload.record = await this.#kernel.suspend(record, { fence: record.owner });
    } catch (error) {
      // Somebody else has it, or has suspended or ended it: nothing is left to do.
      if (!SETTLED.some((code) => isHoldfastError(error, code))) throw error;
    }
  }
}

/** Stands in until the session has told its own. */
const NO_HANDLE = "0".repeat(20) as UploadInfo["handle"];
const SUPERSEDED: Fault = { fault: "locked", why: "a later request took the upload over" };
const SETTLED = ["session-fenced", "session-ended", "illegal-transition"] as const;
const FRESH_MS = 250;
const KNOWN_UPLOADS = 10_000;
