import type { JournalEntry } from "../../kernel/index.ts";
import { Access, aboutCreation, aboutUpload, methodOf, pathOf } from "./access.ts";
import { Background } from "./background.ts";
import type { DownloadSession } from "./download-session.ts";
import { DownloadSessions } from "./download-session.ts";
import type { Engine } from "./engine.ts";
import { ietfEngine, tusEngine } from "./engine.ts";
import type { Exchange } from "./exchange.ts";
import { Expiry } from "./expiry.ts";
import { faultOf } from "./faults.ts";
import { Finisher } from "./finisher.ts";
import { DEFAULT_TRANSFER_POLICY } from "./policy.ts";
import type { FinishReply, TransferPolicy, TransfersOptions, Verdict } from "./policy.ts";
import { serializeDigest } from "./protocol/digest-fields.ts";
import { planDownload } from "./protocol/download-plan.ts";
import type { DownloadPlan } from "./protocol/download-plan.ts";
import { ietfOptions } from "./protocol/ietf.ts";
import { isFault } from "./protocol/messages.ts";
import type {
  AppendCommand,
  Command,
  CreateCommand,
  Fault,
  Limits,
  Reply,
  UploadStatus,
} from "./protocol/messages.ts";
import { tusOptions } from "./protocol/tus.ts";
import { Room } from "./room.ts";
import type { TransferStorage, UploadId } from "./storage/storage.ts";
import type { Upload } from "./upload.ts";
import { Uploads } from "./uploads.ts";
import type { Hold } from "./uploads.ts";
import { Writing } from "./writing.ts";

/** What a server adapter has to send. `undefined` where the connection was broken off. */
export type Answer =
  | { readonly kind: "reply"; readonly reply: Reply; readonly cors: Readonly<Record<string, string>> }
  | {
      readonly kind: "download";
      readonly plan: DownloadPlan;
      readonly upload: UploadId;
      /** Absent where no content is sent, or the policy wants none. */
      readonly session?: DownloadSession;
      readonly cors: Readonly<Record<string, string>>;
    }
  | undefined;

/** Carries out requests, whichever protocol and whichever server they came through. */
export class TransferService {
  readonly options: TransfersOptions;
  readonly policy: TransferPolicy;
  readonly storage: TransferStorage;
  readonly #background = new Background((error) => this.fault(error));
  readonly #uploads: Uploads;
  readonly #expiry: Expiry;
  readonly #finisher: Finisher;
  readonly #downloads: DownloadSessions;
  readonly #access: Access;
  readonly #writing: Writing;
  readonly #stopListening: () => void;
  readonly #limits: Limits & { readonly metadata: { readonly bytes: number; readonly keys: number } };

  constructor(options: TransfersOptions) {
    this.options = options;
    this.policy = { ...DEFAULT_TRANSFER_POLICY, ...options.policy };
    this.storage = options.store;
    const { kernel } = options;
    const room = new Room(kernel, options.store, this.policy);
    this.#access = new Access(options.authorize, this.policy);
    this.#downloads = new DownloadSessions(kernel, this.#background, {
      bytes: this.policy.commitBytes,
      ms: this.policy.commitMs,
    });
    this.#expiry = new Expiry(kernel, options.store, this.policy);
    this.#uploads = new Uploads({
      kernel,
      storage: options.store,
      policy: this.policy,
      room,
      background: this.#background,
    });
    this.#finisher = new Finisher(options.store, this.#uploads, options.onFinish);
    this.#writing = new Writing({
      uploads: this.#uploads,
      room,
      access: this.#access,
      finisher: this.#finisher,
      policy: this.policy,
      clock: kernel.clock,
    });
    this.#limits = {
      maxBytes: this.policy.maxBytes,
      ...(this.policy.maxAppendBytes !== undefined && { maxAppendBytes: this.policy.maxAppendBytes }),
      metadata: { bytes: this.policy.metadataBytes, keys: this.policy.metadataKeys },
    };
    this.#stopListening = kernel.onEntry((entry) => this.#heard(entry));
  }

  fault(error: unknown): void {
    this.options.onFault?.(error);
  }

  async handle(exchange: Exchange): Promise<Answer> {
    const method = methodOf(exchange);
    const cors = this.#access.cors(exchange);
    const answer = (reply: Reply): Answer => ({ kind: "reply", reply, cors });
    const target = this.#access.target(exchange.path);
    if (method === "OPTIONS") return answer(this.#optionsReply());
    if (target === undefined) return answer({ status: 404, headers: {}, text: "there is nothing here\n" });
    let engine: Engine = this.#engineFor(exchange, undefined);
    try {
      if (target.token === undefined) {
        const parsed = engine.parse(exchange.head, method, false, this.#limits);
        if (isFault(parsed)) return answer(engine.refused(parsed));
        if (parsed.command.act !== "create") return answer(engine.refused({ fault: "method" }));
        return await this.#create(exchange, engine, parsed.command, answer);
      }
      // A version that is not spoken is refused before anything is looked at.
      if (exchange.head.header("tus-resumable") !== undefined) {
        const parsed = engine.parse(exchange.head, method, true, this.#limits);
        if (isFault(parsed) && parsed.fault === "version") return answer(engine.refused(parsed));
      }
      const found = await this.#uploads.find(target.token);
      const upload = isFault(found) ? undefined : found;
      engine = this.#engineFor(exchange, upload);
      if (method === "GET") return await this.#download(exchange, found, engine, cors);
      const parsed = engine.parse(exchange.head, method, true, this.#limits);
      if (isFault(parsed)) return answer(engine.refused(parsed));
      if (isFault(found)) return answer(engine.refused(found));
      return await this.#onUpload(exchange, engine, found, parsed.command, target.token, answer);
    } catch (error) {
      return answer(engine.refused(faultOf(error, (one) => this.fault(one))));
    }
  }

  async #create(
    exchange: Exchange,
    engine: Engine,
    command: CreateCommand,
    answer: (reply: Reply) => Answer,
  ): Promise<Answer> {
    const who = await this.#access.authorize({ action: "create", ...aboutCreation(command) }, exchange);
    if (isFault(who)) return answer(engine.refused(who));
    const parts = command.concat?.kind === "final" ? await this.#parts(command.concat.parts, who) : undefined;
    if (parts !== undefined && "fault" in parts) return answer(engine.refused(parts));
    const ready = parts?.every((part) => part.checkpoint.complete) === true;
    const total = parts?.reduce((sum, part) => sum + (part.length ?? 0), 0);
    if (total !== undefined && total > this.policy.maxBytes)
      return answer(engine.refused({ fault: "too-large", limit: this.policy.maxBytes }));
    const created = await this.#uploads.create(
      { ...command, ...(ready && total !== undefined && { length: total }) },
      who,
      {
        protocol: engine.protocol,
        peer: exchange.peer,
        ...(ready && parts !== undefined && { partIds: parts.map((part) => part.id) }),
      },
    );
    if ("fault" in created) return answer(engine.refused(created));
    const { upload, token } = created;
    const location = this.#access.location(token);
    if (engine.tellsInterim && this.policy.interim) {
      const resumable = engine.resumable(location, this.#status(upload));
      exchange.interim(resumable.status, resumable.headers);
    }
    const emptyIsWhole =
      command.completion === "by-length" && (upload.length === 0 || upload.checkpoint.complete);
    if (!command.withContent && !emptyIsWhole) return answer(engine.created(this.#status(upload), location));
    const reply = await this.#writing.write(exchange, engine, upload, command, (extra) =>
      merged(engine.created(this.#status(upload), location), extra),
    );
    return reply === undefined ? undefined : answer(reply);
  }

  async #onUpload(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: Command,
    token: string,
    answer: (reply: Reply) => Answer,
  ): Promise<Answer> {
    const action = command.act === "create" ? "append" : command.act;
    const who = await this.#access.authorize({ action, ...aboutUpload(upload) }, exchange, upload);
    if (isFault(who)) return answer(engine.refused(who));
    switch (command.act) {
      case "terminate":
        return this.#terminate(engine, upload, answer);
      case "inspect":
        return this.#inspect(exchange, engine, upload, command.want !== undefined, answer);
      case "append":
        return this.#append(exchange, engine, upload, command, token, answer);
      case "create":
        return answer(engine.refused({ fault: "method" }));
    }
  }

  async #append(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: AppendCommand,
    token: string,
    answer: (reply: Reply) => Answer,
  ): Promise<Answer> {
    if (typeof upload.info.concat === "object") return answer(engine.refused({ fault: "final" }));
    const reply = await this.#writing.write(exchange, engine, upload, command, (extra) =>
      merged(engine.appended(this.#status(upload), this.#access.location(token)), extra),
    );
    return reply === undefined ? undefined : answer(reply);
  }

  async #inspect(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    wantsDigest: boolean,
    answer: (reply: Reply) => Answer,
  ): Promise<Answer> {
    // A monitor that looks does not stop an upload that is moving; a peer that comes back to one that is not, does.
    const now = this.options.kernel.clock.now();
    const moving = upload.turns.busy && now - upload.lastArrivalAt < this.policy.movingMs;
    const handedOver = upload.checkpoint.complete && upload.record === undefined;
    if (handedOver || (moving && engine.protocol === "tus"))
      return answer(engine.inspected(this.#status(upload)));
    const hold = await this.#uploads.hold(upload, () => {});
    if (isFault(hold)) return answer(engine.refused(hold));
    try {
      const refused = await this.#catchUp(exchange, upload);
      if (refused !== undefined) return answer(engine.refused(refused));
      const digest =
        wantsDigest && !upload.checkpoint.complete ? await this.#digestSoFar(upload, hold) : undefined;
      if (typeof digest === "object") return answer(engine.refused(digest));
      return answer(engine.inspected(this.#status(upload, digest)));
    } finally {
      await hold.release();
    }
  }

  /** What a crash left undone: bytes to acknowledge, a final upload to join, a finished file to hand over. */
  async #catchUp(exchange: Exchange, upload: Upload): Promise<Fault | undefined> {
    if (upload.checkpoint.complete) {
      await this.#finisher.handOver(upload);
      return undefined;
    }
    if (typeof upload.info.concat === "object") {
      const parts = await this.#parts(upload.info.concat.parts, undefined);
      if ("fault" in parts || !parts.every((part) => part.checkpoint.complete)) return undefined;
      // A crash may have left a beginning of the same bytes behind.
      let skip = upload.writer.written;
      for (const part of parts) {
        const start = Math.min(skip, part.checkpoint.offset);
        skip -= start;
        for await (const bytes of this.storage.read(part.id, { start, end: part.checkpoint.offset }))
          await upload.writer.append([bytes]);
      }
      upload.declareLength(upload.writer.written);
    }
    const { written } = upload.writer;
    if (upload.info.protocol === "tus" && written === upload.length) {
      const outcome = await this.#writing.complete(exchange, upload);
      return outcome !== undefined && "fault" in outcome ? outcome : undefined;
    }
    const told = upload.record?.checkpoint?.position ?? 0;
    if (written > upload.checkpoint.offset || told < written) await upload.commit();
    return undefined;
  }

  async #digestSoFar(upload: Upload, hold: Hold): Promise<string | Fault> {
    const digest = await upload.writer.verify(hold.signal);
    if (digest !== undefined) return serializeDigest("sha-256", digest);
    await this.#uploads.discard(upload, "crashed", "the stored bytes are not those that were acknowledged");
    return { fault: "gone", why: "what was stored has been damaged" };
  }

  async #terminate(engine: Engine, upload: Upload, answer: (reply: Reply) => Answer): Promise<Answer> {
    const hold = await this.#uploads.hold(upload, () => {});
    if (isFault(hold)) return answer(engine.refused(hold));
    try {
      await this.#uploads.discard(upload, "bye");
      return answer(engine.terminated());
    } finally {
      await hold.release();
    }
  }

  async #download(
    exchange: Exchange,
    found: Upload | Fault,
    engine: Engine,
    cors: Readonly<Record<string, string>>,
  ): Promise<Answer> {
    const refuse = (fault: Fault): Answer => ({ kind: "reply", reply: engine.refused(fault), cors });
    if (!this.policy.downloads) return refuse({ fault: "method" });
    if (isFault(found)) return refuse(found);
    const who = await this.#access.authorize({ action: "download", ...aboutUpload(found) }, exchange, found);
    if (isFault(who)) return refuse(who);
    if (!found.checkpoint.complete) return refuse({ fault: "absent" });
    const { checkpoint, info, id } = found;
    const whole = checkpoint.digestFrom === 0;
    const plan = planDownload(
      exchange.head,
      {
        bytes: checkpoint.offset,
        type: info.type ?? "application/octet-stream",
        etag: whole ? `"${Buffer.from(checkpoint.digest).toString("base64url")}"` : `"${id}"`,
        lastModified: checkpoint.at,
        cacheControl: "private, no-cache",
        ...(info.name !== undefined && { name: info.name }),
        ...(whole && { digest: checkpoint.digest }),
      },
      this.options.kernel.clock.now(),
      `holdfast-${id}`,
    );
    if (!this.policy.downloadSessions) return { kind: "download", plan, upload: id, cors };
    const { name } = info;
    const session = await this.#downloads.begin(
      plan,
      { ...who, total: checkpoint.offset, peer: exchange.peer, ...(name !== undefined && { name }) },
      () => exchange.kill(),
    );
    return { kind: "download", plan, upload: id, cors, ...(session !== undefined && { session }) };
  }

  sweep(): Promise<{ readonly removed: number; readonly freed: number; readonly forgotten: number }> {
    return this.#expiry.sweep();
  }

  async close(): Promise<void> {
    this.#stopListening();
    this.#downloads.close();
    await this.#uploads.close();
    await this.#background.settled();
  }

  // ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────

  #heard(entry: JournalEntry): void {
    if (entry.event !== "end" || entry.mechanism !== "transfer" || entry.handle === undefined) return;
    if (entry.detail?.["reason"] === "finished") return;
    const { handle } = entry;
    this.#uploads.ended(handle);
    this.#background.run(this.#expiry.follow(handle));
  }

  async #parts(
    urls: readonly string[],
    who: (Verdict & { allow: true }) | undefined,
  ): Promise<readonly Upload[] | Fault> {
    const parts: Upload[] = [];
    for (const url of urls) {
      const token = this.#access.target(pathOf(url))?.token;
      const found = token === undefined ? undefined : await this.#uploads.find(token);
      if (found === undefined || isFault(found)) return { fault: "part", why: `there is no part ${url}` };
      if (found.info.concat !== "partial") return { fault: "part", why: `${url} is not a partial upload` };
      if (who !== undefined && found.info.principal !== undefined && found.info.principal !== who.principal) {
        return { fault: "forbidden", why: "a part belongs to somebody else" };
      }
      parts.push(found);
    }
    return parts;
  }

  #status(upload: Upload, digest?: string): UploadStatus {
    const { checkpoint, info, expiresAt } = upload;
    const done =
      checkpoint.complete && checkpoint.digestFrom === 0
        ? serializeDigest("sha-256", checkpoint.digest)
        : undefined;
    const shown = digest ?? done;
    return {
      offset: checkpoint.offset,
      complete: checkpoint.complete,
      ...(upload.length !== undefined && { length: upload.length }),
      ...(expiresAt !== undefined && { expiresAt }),
      ...(info.metadataField !== undefined && { metadataField: info.metadataField }),
      ...(info.concat !== undefined && {
        concat:
          info.concat === "partial"
            ? ({ kind: "partial" } as const)
            : ({ kind: "final", parts: info.concat.parts } as const),
      }),
      ...(shown !== undefined && { digest: shown }),
    };
  }

  #engineFor(exchange: Exchange, upload: Upload | undefined): Engine {
    if (exchange.head.header("tus-resumable") !== undefined) return tusEngine;
    const ietf = ietfEngine(exchange.head, this.#limits, () => this.options.kernel.clock.now());
    return ietf.marked || upload?.info.protocol === "ietf" ? ietf : tusEngine;
  }

  #optionsReply(): Reply {
    const [tus, ietf] = [tusOptions(this.#limits), ietfOptions(this.#limits)];
    return {
      status: 204,
      headers: { ...ietf.headers, ...tus.headers, Allow: "OPTIONS, HEAD, GET, POST, PUT, PATCH, DELETE" },
    };
  }
}

function merged(reply: Reply, extra: FinishReply | undefined): Reply {
  if (extra === undefined) return reply;
  return {
    ...reply,
    status: extra.status ?? (extra.text === undefined ? reply.status : 200),
    headers: { ...reply.headers, ...extra.headers },
    ...(extra.text !== undefined && { text: extra.text }),
  };
}
