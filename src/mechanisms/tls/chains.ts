import type { TLSSocket } from "node:tls";
import type { Handle, Json, Kernel, SessionRecord } from "../../kernel/index.ts";
import { mintHandle, parseHandle, shardOfHandle, shardOfPrincipal } from "../../kernel/index.ts";
import { certificateFromJson, certificateOf, certificateToJson } from "./certificates.ts";
import type { FullReason } from "./metrics.ts";
import type { ClientCertificate, Settings } from "./options.ts";

const MECHANISM = "tls";

/** What is known of the server a session is on, when it is to be resumed there. */
export interface Place {
  readonly serverName: string | undefined;
  readonly asksForCertificates: boolean;
  /** Fingerprints of the authorities in force; `undefined` when nobody has said which they are. */
  authorities(serverName: string | undefined): ReadonlySet<string> | undefined;
}

export type Judgement =
  | { readonly good: true; readonly record: SessionRecord | undefined }
  | { readonly good: false; readonly why: FullReason };

/** The sessions of the kernel that TLS sessions are: each begins with a full handshake and goes through resumptions. */
export class Chains {
  readonly #settings: Settings;
  readonly #kernel: Kernel;
  readonly #live = new Map<Handle, number>();
  readonly #adopting = new Map<Handle, Promise<SessionRecord>>();
  readonly #unwritten = new Map<Handle, Promise<unknown>>();
  /** Those that anybody can make, the oldest first. */
  readonly #anonymous = new Set<Handle>();
  #cancelTouch: (() => void) | undefined;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#kernel = settings.kernel;
  }

  /** A name for a session that will be written once it is known whose it is; see `begin`. */
  mint(principal?: string): Handle {
    return mintHandle(shardOfPrincipal(principal));
  }

  /**
   * Whether the session of that handle may be resumed now, at this place. `isWorthWaiting` is asked when the store does not
   * know it: false for a name that was made up.
   */
  async judge(
    named: Handle,
    startedAt: number,
    place: Place,
    isWorthWaiting: () => boolean,
  ): Promise<Judgement> {
    const { maxChainAgeMs, adopt } = this.#settings;
    const now = this.#kernel.clock.now();
    const { handle, record } = await this.#find(named, isWorthWaiting);
    if (record === undefined) {
      const why = await this.#whyNot(handle);
      if (why !== "unknown-session" || !adopt || place.asksForCertificates) return { good: false, why };
      return now - startedAt < maxChainAgeMs ? { good: true, record } : { good: false, why: "expired" };
    }
    if (now - record.createdAt >= maxChainAgeMs) return { good: false, why: "expired" };
    if (!(await this.#certificateHolds(record, place))) return { good: false, why: "client-certificate" };
    return { good: true, record };
  }

  /**
   * Writes the session that a full handshake has begun. The handle may be out already, in a ticket; where the principal,
   * known only now, wants another, the old one is noted as its other name. Returns the handle, once it is known to hold.
   */
  async begin(handle: Handle, socket: TLSSocket, about: Beginning): Promise<SessionRecord> {
    const { principal } = about;
    const home = principal === undefined || inShardOf(handle, principal) ? handle : this.mint(principal);
    const certificate = about.asksForCertificates ? certificateOf(socket) : undefined;
    const writing = this.#write(home, socket, about, certificate);
    this.#remember(handle, writing);
    if (home !== handle) await this.alias(handle, home);
    return writing;
  }

  /** As `begin`, for a session that another server has begun. Several of its connections may come at once. */
  adopt(handle: Handle, socket: TLSSocket, about: Beginning): Promise<SessionRecord> {
    let adopting = this.#adopting.get(handle);
    if (adopting === undefined) {
      adopting = this.#kernel
        .lookUp(handle)
        .then((record) => record ?? this.begin(handle, socket, about))
        .finally(() => this.#adopting.delete(handle));
      this.#adopting.set(handle, adopting);
    }
    return adopting;
  }

  /** Makes one handle lead to another while tickets that carry it can be good. */
  async alias(handle: Handle, home: Handle): Promise<void> {
    const expiresAt = this.#kernel.clock.now() + this.#settings.maxTicketAgeMs;
    await this.#kernel.store.putTicket(aliasKey(handle), Buffer.from(home), expiresAt);
  }

  /** Says that `socket` carries the session; a revocation closes it. */
  async carry(record: SessionRecord, socket: TLSSocket): Promise<void> {
    const { handle } = record;
    const detach = await this.#kernel.attach(record, {
      close: () => closed(socket),
    });
    if (socket.destroyed) return detach();
    this.#live.set(handle, (this.#live.get(handle) ?? 0) + 1);
    socket.once("close", () => {
      detach();
      const left = (this.#live.get(handle) ?? 1) - 1;
      if (left === 0) this.#live.delete(handle);
      else this.#live.set(handle, left);
    });
    this.#kernel.touch(record);
    this.#keepTouching();
  }

  /** The session has ended. */
  forget(handle: Handle): void {
    this.#anonymous.delete(handle);
  }

  close(): void {
    this.#cancelTouch?.();
  }

  /** Makes room: nothing that costs a peer only a handshake may fill the store. */
  async #evict(): Promise<void> {
    let looks = 0;
    for (const handle of this.#anonymous) {
      if (this.#anonymous.size <= this.#settings.maxAnonymous || ++looks > LOOKS) return;
      this.#anonymous.delete(handle);
      if (this.#live.has(handle)) {
        this.#anonymous.add(handle);
        continue;
      }
      const ended = await this.#kernel.endForNow(handle, { reason: "evicted", by: "holdfast" });
      if (ended !== undefined) await this.#kernel.store.purge(ended);
    }
  }

  /** A ticket can come back before its session is written: here that is waited for, elsewhere a moment. */
  async #find(
    named: Handle,
    isWorthWaiting: () => boolean,
  ): Promise<{ handle: Handle; record?: SessionRecord }> {
    await this.#unwritten.get(named);
    for (let attempt = 0; ; attempt++) {
      let record = await this.#kernel.lookUp(named);
      if (record !== undefined) return { handle: named, record };
      if ((await this.#kernel.lookUp(named, { ended: true })) !== undefined) return { handle: named };
      if (attempt === 0 && !isWorthWaiting()) return { handle: named };
      const home = await this.#homeOf(named);
      if (home !== undefined) {
        record = await this.#kernel.lookUp(home);
        return record === undefined ? { handle: home } : { handle: home, record };
      }
      if (this.#settings.adopt || attempt === WAITS_MS.length) return { handle: named };
      await new Promise<void>((resolve) => this.#kernel.clock.after(WAITS_MS[attempt] ?? 0, resolve));
    }
  }

  async #homeOf(handle: Handle): Promise<Handle | undefined> {
    const { store, clock } = this.#kernel;
    const home = await store.peekTicket(aliasKey(handle), clock.now());
    return home === undefined ? undefined : parseHandle(Buffer.from(home).toString("latin1"));
  }

  async #whyNot(handle: Handle): Promise<FullReason> {
    const record = await this.#kernel.lookUp(handle, { ended: true });
    if (record === undefined) return "unknown-session";
    if (record.ended === undefined) return "revoked";
    return record.ended.reason === "revoked" ? "revoked" : "ended";
  }

  async #write(
    handle: Handle,
    socket: TLSSocket,
    about: Beginning,
    certificate: ClientCertificate | undefined,
  ): Promise<SessionRecord> {
    const { remoteAddress } = socket;
    const { serverName, principal } = about;
    const data: Record<string, Json> = {
      protocol: socket.getProtocol() ?? "unknown",
      cipher: socket.getCipher().standardName,
      ...(serverName !== undefined && { serverName }),
      ...(about.asksForCertificates && {
        certificate: certificate === undefined ? null : certificateToJson(certificate),
      }),
    };
    const peer = {
      ...(remoteAddress !== undefined && { address: remoteAddress }),
      ...(certificate !== undefined && { device: certificate.fingerprint }),
    };
    const { record } = await this.#kernel.establish({
      mechanism: MECHANISM,
      mode: "full-duplex",
      handle,
      credential: false,
      idleMs: this.#settings.maxTicketAgeMs,
      peer,
      data,
      ...(principal !== undefined && { principal }),
      ...(serverName !== undefined && { label: serverName }),
      ...(certificate !== undefined && { authentication: { amr: ["hwk"] } }),
    });
    if (principal === undefined && certificate === undefined) {
      this.#anonymous.add(handle);
      if (this.#anonymous.size > this.#settings.maxAnonymous) await this.#evict();
    }
    return record;
  }

  #remember(handle: Handle, writing: Promise<unknown>): void {
    // What goes wrong is told to whoever began it.
    const done = writing.catch(() => undefined).finally(() => this.#unwritten.delete(handle));
    this.#unwritten.set(handle, done);
  }

  /**
   * RFC 8446 leaves it to the server what a resumed session may rest on. OpenSSL does not look at the client's certificate
   * again (and calls a resumed client authorised that never showed one), so this does.
   */
  async #certificateHolds(record: SessionRecord, place: Place): Promise<boolean> {
    const kept = memberOf(record.data, "certificate");
    if (kept === undefined) return !place.asksForCertificates;
    const certificate = certificateFromJson(kept);
    // RFC 6066 §3: a session is not resumed under another name; where clients are told apart this is held to.
    if (certificate === undefined || record.label !== place.serverName) return false;
    if (certificate.notAfter <= this.#kernel.clock.now()) return false;
    if (place.authorities(place.serverName)?.has(certificate.authority) === false) return false;
    return (await this.#settings.certificates.revoked?.(certificate)) !== true;
  }

  /** A connection may last longer than its ticket: while it is there, its session does not go idle. */
  #keepTouching(): void {
    if (this.#cancelTouch !== undefined) return;
    this.#cancelTouch = this.#kernel.clock.after(this.#settings.maxTicketAgeMs / TOUCHES, () => {
      void this.#touchAll().finally(() => {
        this.#cancelTouch = undefined;
        if (this.#live.size > 0) this.#keepTouching();
      });
    });
  }

  async #touchAll(): Promise<void> {
    for (const handle of this.#live.keys()) {
      try {
        const record = await this.#kernel.lookUp(handle);
        if (record !== undefined) this.#kernel.touch(record);
      } catch (error) {
        this.#settings.onFault(error);
      }
    }
  }
}

export interface Beginning {
  readonly serverName: string | undefined;
  readonly principal: string | undefined;
  readonly asksForCertificates: boolean;
}

function closed(socket: TLSSocket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once("close", () => resolve());
    socket.destroy();
  });
}

function inShardOf(handle: Handle, principal: string): boolean {
  return shardOfHandle(handle) === shardOfPrincipal(principal);
}

function aliasKey(handle: Handle): string {
  return `tls-alias:${handle}`;
}

function memberOf(data: Json, name: string): Json | undefined {
  return typeof data === "object" && data !== null && !Array.isArray(data) && Object.hasOwn(data, name)
    ? (data as Readonly<Record<string, Json>>)[name]
    : undefined;
}

/** How long a good ticket of an unknown session waits for it, on a server that shares its store. */
const WAITS_MS = [5, 20, 80, 250] as const;
/** Sessions looked at for one that can give way, each time one too many has begun. */
const LOOKS = 64;
/** Times within the idle limit that a session with a connection is touched. */
const TOUCHES = 3;
