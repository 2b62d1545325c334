import { Background } from "./background.ts";
import type { Exchange } from "./exchange.ts";
import type { Engine } from "./engine.ts";
import { ietfEngine, tusEngine } from "./engine.ts";
import { Expiry } from "./expiry.ts";
import { Finisher } from "./finisher.ts";
import { DEFAULT_TRANSFER_POLICY } from "./policy.ts";
import type { AuthorizeRequest, FinishReply, TransferPolicy, TransfersOptions, Verdict } from "./policy.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import type { JournalEntry } from "../../kernel/index.ts";
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
import { receive } from "./receive.ts";
import { storageFaultReason } from "./storage/fault.ts";
import type { TransferStorage, UploadId } from "./storage/storage.ts";
import type { Upload } from "./upload.ts";
import { Uploads } from "./uploads.ts";
import type { Hold } from "./uploads.ts";
import { serializeDigest } from "./protocol/digest-fields.ts";

/** What a server adapter has to send. `undefined` where the connection was broken off. */
export type Answer =
  | { readonly kind: "reply"; readonly reply: Reply; readonly cors: Readonly<Record<string, string>> }
  | {
      readonly kind: "download";
      readonly plan: DownloadPlan;
      readonly upload: UploadId;
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
  readonly #stopListening: () => void;
  readonly #limits: Limits & { readonly metadata: { readonly bytes: number; readonly keys: number } };

  constructor(options: TransfersOptions) {
    this.options = options;
    this.policy = { ...DEFAULT_TRANSFER_POLICY, ...options.policy };
    this.storage = options.store;
    const { kernel } = options;
    this.#expiry = new Expiry(kernel, options.store, this.policy);
    this.#uploads = new Uploads({
      kernel,
      storage: options.store,
      policy: this.policy,
      expiry: this.#expiry,
      background: this.#background,
    });
    this.#finisher = new Finisher(options.store, this.#uploads, options.onFinish);
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
    const cors = this.#cors(exchange);
    const answer = (reply: Reply): Answer => ({ kind: "reply", reply, cors });
    const target = this.#target(exchange.path);
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
      return answer(engine.refused(this.#faultOf(error)));
    }
  }

  async #create(
    exchange: Exchange,
    engine: Engine,
    command: CreateCommand,
    answer: (reply: Reply) => Answer,
  ): Promise<Answer> {
    const who = await this.#authorize({ action: "create", ...describe(command) }, exchange);
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
    const location = this.#location(token);
    if (engine.tellsInterim && this.policy.interim) {
      const resumable = engine.resumable(location, this.#status(upload));
      exchange.interim(resumable.status, resumable.headers);
    }
    const emptyIsWhole =
      command.completion === "by-length" && (upload.length === 0 || upload.checkpoint.complete);
    if (!command.withContent && !emptyIsWhole)
      return answer(engine.created(this.#status(upload), location, command));
    return this.#write(exchange, engine, upload, command, answer, (extra) =>
      merged(engine.created(this.#status(upload), location, command), extra),
    );
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
    const who = await this.#authorize({ action, ...this.#about(upload) }, exchange, upload);
    if (isFault(who)) return answer(engine.refused(who));
    switch (command.act) {
      case "terminate":
        return this.#terminate(engine, upload, answer);
      case "inspect":
        return this.#inspect(engine, upload, command.want !== undefined, answer);
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
    return this.#write(exchange, engine, upload, command, answer, (extra) =>
      merged(engine.appended(this.#status(upload), this.#location(token)), extra),
    );
  }

  /** Takes a request's content into the upload, and finishes the upload if that was all of it. */
  async #write(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: CreateCommand | AppendCommand,
    answer: (reply: Reply) => Answer,
    success: (extra: FinishReply | undefined) => Reply,
  ): Promise<Answer> {
    let killed = false;
    upload.lastArrivalAt = this.options.kernel.clock.now();
    const hold = await this.#uploads.hold(upload, () => {
      killed = true;
      exchange.body.stop();
    });
    if (isFault(hold)) return answer(engine.refused(hold));
    try {
      const early = await this.#judge(upload, command);
      if (early !== undefined) return answer(engine.refused(early));
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
          return answer(
            engine.refused({
              fault: "length",
              why: "the content went beyond the upload's length; the upload is closed",
            }),
          );
        }
        return answer(engine.refused(received.fault));
      }
      if (received?.end === "cut" || received?.end === "stopped") return undefined;
      const outcome = await this.#conclude(exchange, upload, command);
      if (outcome !== undefined && "fault" in outcome) return answer(engine.refused(outcome));
      return answer(success(outcome));
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
    return (await this.#uploads.lacksRoom(command.contentBytes ?? 0)) ? { fault: "no-space" } : undefined;
  }

  async #receive(
    exchange: Exchange,
    engine: Engine,
    upload: Upload,
    command: CreateCommand | AppendCommand,
  ): Promise<Awaited<ReturnType<typeof receive>>> {
    if (command.act === "create" && command.length !== undefined) upload.declareLength(command.length);
    const unlisten =
      engine.tellsProgress && this.policy.interim
        ? upload.onProgress((offset) => {
            const progress = engine.progress(offset);
            exchange.interim(progress.status, progress.headers);
          })
        : undefined;
    try {
      return await receive(upload, exchange.body, {
        clock: this.options.kernel.clock,
        commitBytes: this.policy.commitBytes,
        commitMs: this.policy.commitMs,
        idleProgressMs: this.policy.idleProgressMs,
        minBytesPerSecond: this.policy.minBytesPerSecond,
        limit: Math.min(upload.length ?? Infinity, this.policy.maxBytes),
        onBytes: () => (upload.lastArrivalAt = this.options.kernel.clock.now()),
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
    const who = await this.#authorize({ action: "complete", ...this.#about(upload) }, exchange, upload);
    if (isFault(who)) {
      await this.#uploads.discard(upload, "refused", "authorization at completion");
      return who;
    }
    return this.#finisher.finish(upload);
  }

  async #inspect(
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
      await this.#catchUp(upload);
      const digest =
        wantsDigest && !upload.checkpoint.complete ? await this.#digestSoFar(upload, hold) : undefined;
      if (typeof digest === "object") return answer(engine.refused(digest));
      return answer(engine.inspected(this.#status(upload, digest)));
    } finally {
      await hold.release();
    }
  }

  /** What a crash left undone: bytes to acknowledge, a final upload to join, a finished file to hand over. */
  async #catchUp(upload: Upload): Promise<void> {
    if (upload.checkpoint.complete) {
      await this.#finisher.handOver(upload);
      return;
    }
    if (typeof upload.info.concat === "object") {
      const parts = await this.#parts(upload.info.concat.parts, undefined);
      if ("fault" in parts || !parts.every((part) => part.checkpoint.complete)) return;
      for (const part of parts) {
        for await (const bytes of this.storage.read(part.id, { start: 0, end: part.checkpoint.offset }))
          await upload.writer.append([bytes]);
      }
      upload.declareLength(upload.writer.written);
      await this.#finisher.finish(upload);
      return;
    }
    if (
      upload.writer.written > upload.checkpoint.offset ||
      (upload.record?.checkpoint?.position ?? 0) < upload.writer.written
    ) {
      await upload.commit();
    }
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
    const who = await this.#authorize({ action: "download", ...this.#about(found) }, exchange, found);
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
    return { kind: "download", plan, upload: id, cors };
  }

  sweep(): Promise<{ readonly removed: number; readonly freed: number; readonly forgotten: number }> {
    return this.#expiry.sweep();
  }

  async close(): Promise<void> {
    this.#stopListening();
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
      const token = this.#target(pathOf(url))?.token;
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

  async #authorize(
    request: Omit<AuthorizeRequest, "header">,
    exchange: Exchange,
    upload?: Upload,
  ): Promise<(Verdict & { allow: true }) | Fault> {
    const verdict = (await this.options.authorize?.({
      ...request,
      header: (name) => exchange.head.header(name),
    })) ?? { allow: true as const };
    if (!verdict.allow)
      return verdict.status === 401 ? { fault: "unauthenticated" } : { fault: "forbidden", why: verdict.why };
    const owner = upload?.info.principal;
    // Another principal's upload looks as if it were not there.
    if (this.options.authorize !== undefined && owner !== undefined && owner !== verdict.principal)
      return { fault: "absent" };
    return verdict;
  }

  #about(upload: Upload): Omit<AuthorizeRequest, "header" | "action"> {
    const { name, type, handle, principal } = upload.info;
    return {
      handle,
      ...(upload.length !== undefined && { length: upload.length }),
      ...(name !== undefined && { name }),
      ...(type !== undefined && { type }),
      ...(principal !== undefined && { principal }),
    };
  }

  #status(upload: Upload, digest?: string): UploadStatus {
    const expiresAt = this.#uploads.expiresAt(upload);
    const { checkpoint, info } = upload;
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

  #target(path: string): { readonly token?: string } | undefined {
    const base = this.policy.path.replace(/\/+$/, "");
    if (path === base || path === `${base}/`) return {};
    if (!path.startsWith(`${base}/`)) return undefined;
    const token = path.slice(base.length + 1);
    return token.includes("/") ? undefined : { token };
  }

  #location(token: string): string {
    return `${this.policy.publicOrigin ?? ""}${this.policy.path.replace(/\/+$/, "")}/${token}`;
  }

  #cors(exchange: Exchange): Readonly<Record<string, string>> {
    const origin = exchange.head.header("origin");
    const { cors } = this.policy;
    if (origin === undefined || (cors !== "*" && !cors.includes(origin))) return {};
    return {
      "Access-Control-Allow-Origin": cors === "*" ? "*" : origin,
      ...(cors !== "*" && { "Access-Control-Allow-Credentials": "true", Vary: "Origin" }),
      "Access-Control-Allow-Methods": "OPTIONS, HEAD, GET, POST, PUT, PATCH, DELETE",
      "Access-Control-Allow-Headers": CORS_REQUEST_FIELDS,
      "Access-Control-Expose-Headers": CORS_RESPONSE_FIELDS,
      "Access-Control-Max-Age": "86400",
    };
  }

  #faultOf(error: unknown): Fault {
    const reason = storageFaultReason(error);
    if (reason === "no-space") return { fault: "no-space" };
    if (isHoldfastError(error, "locked")) return { fault: "locked", why: "uploads are locked" };
    if (isHoldfastError(error, "limit-reached")) return { fault: "quota", why: error.message };
    if (isHoldfastError(error, "establish-refused"))
      return { fault: "forbidden", why: "the session it belongs under is over" };
    if (isHoldfastError(error, "session-ended"))
      return { fault: "gone", why: "the upload's session is over" };
    if (isHoldfastError(error, "session-fenced"))
      return { fault: "locked", why: "another request took the upload over" };
    this.fault(error);
    if (reason === "read-only")
      return { fault: "unavailable", why: "the storage takes nothing at the moment" };
    if (isHoldfastError(error, "store-unavailable") || isHoldfastError(error, "session-conflict")) {
      return { fault: "unavailable", why: "a store is not available; try again" };
    }
    return { fault: "failed", why: "the request failed on this side" };
  }
}

/** tus 1.0: X-HTTP-Method-Override stands for the method, for peers that cannot send PATCH or DELETE. */
function methodOf(exchange: Exchange): string {
  return (exchange.head.header("x-http-method-override") ?? exchange.head.method).trim().toUpperCase();
}

function describe(command: CreateCommand): Pick<AuthorizeRequest, "length" | "name" | "type"> {
  const text = (key: string): string | undefined => {
    const bytes = command.metadata.get(key);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8");
  };
  const [name, type] = [text("filename") ?? text("name"), text("filetype") ?? text("type")];
  return {
    ...(command.length !== undefined && { length: command.length }),
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
  };
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

function pathOf(url: string): string {
  try {
    return new URL(url, "http://localhost").pathname;
  } catch {
    return "";
  }
}

const CORS_REQUEST_FIELDS =
  "Authorization, Content-Type, Content-Digest, Content-Disposition, Repr-Digest, Want-Repr-Digest, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Checksum, Upload-Complete, Upload-Incomplete, Upload-Draft-Interop-Version, X-HTTP-Method-Override, X-Requested-With";
const CORS_RESPONSE_FIELDS =
  "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Expires, Upload-Complete, Upload-Incomplete, Upload-Limit, Upload-Draft-Interop-Version, Repr-Digest, ETag, Content-Range, Accept-Ranges, Content-Disposition";
