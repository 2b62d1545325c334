import { createPublicKey, randomBytes, verify } from "node:crypto";
import type { CredentialKey, Json, SessionRecord } from "../../kernel/index.ts";
import { credentialKey, isHoldfastError, parseHandle } from "../../kernel/index.ts";
import { isFault } from "../../wire/fault.ts";
import { CarriedDialog } from "./carried.ts";
import type { Link } from "./client.ts";
import { proofText } from "./proof.ts";
import { decodeFrames, encodeFrame } from "./codec.ts";
import type { Frame } from "./frames.ts";
import { REFUSED } from "./numbers.ts";
import type { Agreement } from "./machine/agreement.ts";
import { agree } from "./machine/agreement.ts";
import { decodeMark, encodeMark } from "./machine/mark.ts";
import type { ServerMachineOptions } from "./machine/options.ts";
import { rulesFor } from "./machine/rules-for.ts";
import { explain } from "./machine/reasons.ts";
import { ServerMachine } from "./machine/server-machine.ts";
import type { LinkRequest, Settings, Welcome } from "./options.ts";
import { modeOf } from "./options.ts";

type Of<Type extends Frame["type"]> = Extract<Frame, { type: Type }>;

/** What all links of a server share. */
export interface Around {
  readonly settings: Settings;
  /** The dialog, if this node owns it. */
  readonly carried: (handle: string) => CarriedDialog | undefined;
  /** A dialog begins, or comes here from another node. */
  readonly arrived: (carried: CarriedDialog, rehydrated: boolean, data?: Uint8Array) => void;
  readonly gone: (carried: CarriedDialog) => void;
}

/** Brings a link from its first frame to a dialog. Answers that nothing was to come of it by closing the link. */
export class Greeting {
  readonly #around: Around;
  readonly #link: Link;
  readonly #about: Omit<LinkRequest, "authorization">;
  readonly #header: string;
  #proof: ((signature: Uint8Array) => void) | undefined;
  #greeted = false;
  /** Set once the link belongs to a dialog. */
  carried: CarriedDialog | undefined;
  #closed = false;

  constructor(around: Around, link: Link, about: Omit<LinkRequest, "authorization">, header: string) {
    this.#around = around;
    this.#link = link;
    this.#about = about;
    this.#header = header;
  }

  message(bytes: Uint8Array): void {
    if (this.carried !== undefined) return this.carried.message(this.#link, bytes);
    const frames = decodeFrames(bytes);
    const frame = isFault(frames) ? undefined : frames[0];
    if (frame?.type === "proof" && this.#proof !== undefined) return this.#proof(frame.signature);
    if (this.#greeted || frame === undefined || isFault(frames) || frames.length !== 1)
      return this.#refuse(REFUSED.malformed, "OPEN or RESUME was to come, alone");
    this.#greeted = true;
    const work =
      frame.type === "open" ? this.#open(frame) : frame.type === "resume" ? this.#resume(frame) : undefined;
    if (work === undefined) return this.#refuse(REFUSED.malformed, "OPEN or RESUME was to come");
    work.catch((error: unknown) => this.#failed(error));
  }

  closed(): void {
    this.#closed = true;
    this.carried?.lost(this.#link);
  }

  // ── a new dialog ────────────────────────────────────────────────────────────────────────────────────────────

  async #open(frame: Of<"open">): Promise<void> {
    const { settings } = this.#around;
    const { kernel, log, durability } = settings;
    if (frame.version !== 1) return this.#refuse(REFUSED.version, "version 1 is spoken here");
    const welcome = await this.#authenticate(frame.authorization, { label: frame.label, data: frame.data });
    if (welcome === undefined) return;
    const agreement = agree(frame, {
      units: settings.units,
      placement: 0xaa,
      checkpointBytes: settings.checkpoint.bytes,
      checkpointWindow: settings.checkpoint.window,
      maxMessageBytes: settings.maxMessageBytes,
    });
    if (agreement === undefined) return this.#refuse(REFUSED.mode, "there is no mode that both can do");
    const key = frame.proofKey.length === 0 ? undefined : Buffer.from(frame.proofKey).toString("base64url");
    const holdMs = Math.min(frame.holdMs, settings.holdMs);
    const { record, secret } = await kernel.establish({
      mechanism: "dialog",
      mode: modeOf(agreement.units),
      own: true,
      resumableMs: holdMs,
      peer: { address: this.#about.address, ...(welcome.device !== undefined && { device: welcome.device }) },
      data: { ...agreement, ...(key !== undefined && { key }) },
      ...(welcome.principal !== undefined && { principal: welcome.principal }),
      ...(welcome.parent !== undefined && { parent: welcome.parent }),
      ...(welcome.roles !== undefined && { roles: welcome.roles }),
      ...(welcome.tenant !== undefined && { tenant: welcome.tenant }),
      ...(frame.label !== "" && { label: frame.label }),
      ...(settings.absoluteMs !== undefined && { absoluteMs: settings.absoluteMs }),
      ...(settings.limit !== undefined && { limit: settings.limit }),
    });
    const epoch = record.owner?.epoch ?? 1;
    const machine = new ServerMachine(this.#machineOptions(agreement));
    const storage = machine.storage();
    if (log !== undefined && storage?.mark !== undefined) {
      // Before anybody knows of it, so that every node can go on with what somebody knows of.
      await log.open(record.handle, epoch);
      await log.append(
        record.handle,
        epoch,
        { from: 0, entries: [], mark: encodeMark(storage.mark) },
        durability,
      );
      machine.stored(storage.receipt);
    }
    const carried = new CarriedDialog(settings, record, machine, epoch, this.#around.gone);
    const start = { next: 0, committed: 0, sent: 0 };
    if (this.#closed || secret === undefined)
      return carried.end("bye", { reason: "aborted", why: "the link was lost" });
    carried.take(this.#link, start, frame.credit, undefined);
    this.carried = carried;
    this.#say({
      type: "opened",
      handle: record.handle,
      secret: secret.reveal(),
      epoch,
      ...agreement,
      credit: settings.credit,
      holdMs,
      pingMs: settings.pingMs,
    });
    this.#around.arrived(carried, false, frame.data);
    await carried.start();
  }

  // ── one that goes on: in this order, and no byte before the end ─────────────────────────────────────────────

  async #resume(frame: Of<"resume">): Promise<void> {
    const { settings } = this.#around;
    const { kernel } = settings;
    const welcome = await this.#authenticate(frame.authorization, {});
    if (welcome === undefined) return;
    const handle = parseHandle(frame.handle);
    const known = handle === undefined ? undefined : await kernel.lookUp(handle, { ended: true });
    if (known?.mechanism !== "dialog" || known.principal !== welcome.principal)
      return this.#refuse(REFUSED.unknown, "there is no such dialog");
    if (known.ended !== undefined) return this.#refuseEnded(known);
    if ((await kernel.lookUp(known.handle)) === undefined)
      return this.#refuse(REFUSED.locked, "it was revoked, or is locked");
    const shown = await kernel.present(frame.secret);
    if (!shown.good || shown.record.handle !== known.handle)
      return this.#refuse(REFUSED.unknown, "there is no such dialog");
    const kept = keptOf(shown.record);
    if (kept === undefined) return this.#refuse(REFUSED.unknown, "there is no such dialog");
    if (kept.key !== undefined && !(await this.#proved(shown.record, kept.key)))
      return this.#refuse(REFUSED.proof, "the proof is missing or wrong");
    const offer = shown.slot === "pending" ? credentialKey(frame.secret) : undefined;
    await this.#takeOver(frame, shown.record, kept.agreement, offer);
  }

  async #takeOver(
    frame: Of<"resume">,
    shown: SessionRecord,
    agreement: Agreement,
    /** The secret it showed, where that is an offered one. */
    offer: CredentialKey | undefined,
  ): Promise<void> {
    const { kernel, credit } = this.#around.settings;
    const before = this.#around.carried(shown.handle);
    // Here already, and nowhere else since: the machine is as it was left.
    const isOurs =
      before?.over === false &&
      shown.owner?.node === kernel.node &&
      before.record.owner?.epoch === shown.owner.epoch;
    const used = offer === undefined ? shown : await kernel.confirm(shown, { key: offer });
    // Of two links that were shown the same secret, one may be dead by now: it must not replace the secret of the other.
    const owned = await kernel.resume(used, used.owner === undefined ? {} : { fence: used.owner });
    const epoch = owned.owner?.epoch ?? 1;
    const carried = isOurs && before !== undefined ? before : await this.#rehydrate(owned, agreement);
    if (carried === undefined) return;
    if ((carried.record.owner?.epoch ?? 0) > epoch)
      return this.#refuse(REFUSED.busy, "another link was faster");
    const { record, secret } = await kernel.offer(owned);
    if (this.#closed || carried.over) return this.#refuse(REFUSED.busy, "it has moved meanwhile");
    if ((carried.record.owner?.epoch ?? 0) > epoch)
      return this.#refuse(REFUSED.busy, "another link was faster");
    carried.record = record;
    // An EventSource shows that it has the new secret by nothing but its next request.
    const toConfirm = this.#about.binding === "event-source" ? undefined : credentialKey(secret.reveal());
    const fault = carried.take(this.#link, frame.position, frame.credit, toConfirm);
    if (fault !== undefined) return this.#refuse(REFUSED.outOfStep, explain(fault.why));
    this.carried = carried;
    const holdMs = record.resumableMs ?? 0;
    this.#say({
      type: "resumed",
      secret: secret.reveal(),
      epoch,
      position: carried.machine.position,
      credit,
      holdMs,
    });
    if (carried !== before) this.#around.arrived(carried, true);
    await carried.start();
  }

  /** The dialog as the log has it, from whatever node it was on. */
  async #rehydrate(record: SessionRecord, agreement: Agreement): Promise<CarriedDialog | undefined> {
    const { settings } = this.#around;
    const epoch = record.owner?.epoch ?? 1;
    const stream = await settings.log?.open(record.handle, epoch);
    if (stream === "fenced") {
      this.#refuse(REFUSED.busy, "another node was faster");
      return undefined;
    }
    const mark = stream?.mark === undefined ? undefined : decodeMark(stream.mark);
    if (stream === undefined || mark === undefined || isFault(mark)) {
      await settings.kernel.end(record, { reason: "crashed", by: "holdfast" });
      this.#refuse(REFUSED.ended, "its messages were lost with the process that had them");
      return undefined;
    }
    const machine = new ServerMachine(this.#machineOptions(agreement), {
      mark,
      first: stream.first,
      sent: stream.next,
    });
    return new CarriedDialog(settings, record, machine, epoch, this.#around.gone);
  }

  async #proved(record: SessionRecord, key: string): Promise<boolean> {
    const nonce = randomBytes(32);
    const answer = new Promise<Uint8Array>((resolve) => (this.#proof = resolve));
    this.#say({ type: "challenge", nonce });
    const signature = await answer;
    const point = Buffer.from(key, "base64url");
    const jwk = {
      kty: "EC",
      crv: "P-256",
      x: point.toString("base64url", 1, 33),
      y: point.toString("base64url", 33),
    };
    const publicKey = createPublicKey({ key: jwk, format: "jwk" });
    const latest = record.owner?.epoch ?? 1;
    // RESUMED frames may have been lost: the client counts from the last that it has seen.
    for (let epoch = latest; epoch > Math.max(0, latest - EPOCHS_BACK); epoch--) {
      const text = proofText(record.handle, epoch, nonce);
      if (verify("sha256", text, { key: publicKey, dsaEncoding: "ieee-p1363" }, signature)) return true;
    }
    return false;
  }

  // ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #authenticate(said: string, more: Pick<LinkRequest, "label" | "data">): Promise<Welcome | undefined> {
    const authorization = said === "" ? this.#header : said;
    const welcome = await this.#around.settings.authenticate({ ...this.#about, ...more, authorization });
    if (welcome === undefined) this.#refuse(REFUSED.unauthorized, "it is not known who this is");
    return welcome;
  }

  #refuseEnded(record: SessionRecord): void {
    const reason = record.ended?.reason ?? "finished";
    if (reason === "revoked" || reason === "evicted") return this.#refuse(REFUSED.locked, `it was ${reason}`);
    this.#refuse(REFUSED.ended, `it has ended: ${reason}`);
  }

  #failed(error: unknown): void {
    const code = isHoldfastError(error) ? error.code : "";
    if (code === "locked" || code === "establish-refused")
      this.#refuse(REFUSED.locked, "it was revoked, or is locked");
    else if (code === "session-fenced") this.#refuse(REFUSED.busy, "another link was faster");
    else if (code === "session-ended") this.#refuse(REFUSED.ended, "it has ended");
    else if (code === "limit-reached") this.#refuse(REFUSED.busy, "there are too many dialogs", 5000);
    else {
      if (code !== "store-unavailable") this.#around.settings.onFault(error);
      this.#refuse(REFUSED.unavailable, "not now", 1000);
    }
  }

  #refuse(code: number, why: string, retryMs = 0): void {
    if (!this.#closed) this.#say({ type: "refused", code, retryMs, why });
    this.#link.close();
  }

  #say(frame: Frame): void {
    this.#link.send(encodeFrame(frame));
  }

  #machineOptions(agreement: Agreement): ServerMachineOptions {
    const { log, credit, outboxBytes, outboxMessages, keepNewest, pingMs } = this.#around.settings;
    const keeps = keepNewest !== undefined && modeOf(agreement.units) === "simplex";
    return {
      agreement,
      side: 1,
      rules: rulesFor(agreement.units),
      credit,
      logged: log !== undefined,
      outboxBytes,
      outboxMessages,
      pingMs,
      ...(keeps && { keepNewest }),
    };
  }
}

const EPOCHS_BACK = 4;

/** What OPEN agreed on, as the record keeps it. */
function keptOf(record: SessionRecord): { agreement: Agreement; key: string | undefined } | undefined {
  const { data } = record;
  if (typeof data !== "object" || data === null || Array.isArray(data)) return undefined;
  const kept = data as { readonly [name: string]: Json };
  const number = (name: string): number | undefined => {
    const value = kept[name];
    return typeof value === "number" ? value : undefined;
  };
  const units = number("units");
  const tokens = number("tokens");
  const checkpointBytes = number("checkpointBytes");
  const checkpointWindow = number("checkpointWindow");
  const maxMessageBytes = number("maxMessageBytes");
  if (units === undefined || tokens === undefined || maxMessageBytes === undefined) return undefined;
  if (checkpointBytes === undefined || checkpointWindow === undefined) return undefined;
  const key = typeof kept["key"] === "string" ? kept["key"] : undefined;
  return { agreement: { units, tokens, checkpointBytes, checkpointWindow, maxMessageBytes }, key };
}
