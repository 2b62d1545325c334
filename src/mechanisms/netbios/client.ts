import type { Socket } from "node:net";
import { hostname } from "node:os";
import type { Clock } from "../../kernel/index.ts";
import { HoldfastError, systemClock } from "../../kernel/index.ts";
import type { ReadPort } from "../../transport/read-port.ts";
import { Inbox, isFault } from "../../wire/index.ts";
import { WORKSTATION } from "./codec/name.ts";
import type { LengthBits } from "./codec/session.ts";
import { decodeSessionPacket, encodeMessageHeader, MAX_17, MAX_24 } from "./codec/session.ts";
import type { Dialled } from "./dial.ts";
import { dial } from "./dial.ts";
import type { KeepaliveRule } from "./machine/flow.ts";
import { DEFAULT_KEEPALIVE, Flow } from "./machine/flow.ts";
import { requireName } from "./routes.ts";

export interface ConnectOptions {
  readonly host: string;
  /** 139 by default. */
  readonly port?: number;
  /** Whom to call: `FILESRV`, `FILESRV<20>` or `FILESRV<20>.scope`. */
  readonly called: string;
  /** Who calls; this host's name by default. */
  readonly calling?: string;
  /** For the connection and the answer, all retargets together; 10 s by default. */
  readonly timeoutMs?: number;
  /** Every 60 s of silence by default. */
  readonly keepalive?: KeepaliveRule | false;
  readonly lengthBits?: LengthBits;
  /** Longest message taken; 1 MiB by default. */
  readonly maxMessageBytes?: number;
  /** 4 by default; 0 follows none. */
  readonly maxRetargets?: number;
  /** Whether to follow a retarget there. By default everywhere: who is called may send us on. */
  readonly mayRetarget?: (address: string, port: number) => boolean;
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Opens a session with a name.
 * @throws HoldfastError `invalid-argument`; `establish-refused` with `detail.why` (`refused` with `detail.code`,
 * `unreachable`, `timeout`, `protocol-error`, `retarget-refused`, `aborted`).
 */
export async function connect(options: ConnectOptions): Promise<NetbiosSession> {
  const clock = options.clock ?? systemClock;
  const bits = options.lengthBits ?? 24;
  const called = requireName(options.called, "called");
  const calling = requireName(options.calling ?? ownName(), "calling", WORKSTATION);
  const dialled = await dial({
    host: options.host,
    port: options.port ?? 139,
    timeoutMs: options.timeoutMs ?? 10_000,
    clock,
    signal: options.signal,
    call: {
      called,
      calling,
      bits,
      maxRetargets: options.maxRetargets ?? 4,
      mayRetarget: options.mayRetarget ?? (() => true),
    },
  });
  if (dialled.ok) return new NetbiosSession(dialled, options, clock, bits);
  const { why, text, code } = dialled;
  throw new HoldfastError("establish-refused", `${options.called} gave no session: ${text}.`, {
    detail: { why, ...(code !== undefined && { code }), host: options.host },
  });
}

/** An open session: whole messages out and in. Iterate it for what comes; it ends when the other side closes. */
export class NetbiosSession implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #port: ReadPort;
  readonly #clock: Clock;
  readonly #bits: LengthBits;
  readonly #maxMessageBytes: number;
  readonly #keepalive: KeepaliveRule | undefined;
  readonly #flow: Flow;
  readonly #inbox = new Inbox();
  readonly #messages: Buffer[] = [];
  #queuedBytes = 0;
  #paused = false;
  #over: { readonly error?: HoldfastError } | undefined;
  #wake: () => void = () => {};
  #cancelTimer: () => void = () => {};

  /** Made by `connect`. */
  constructor(dialled: Dialled & { ok: true }, options: ConnectOptions, clock: Clock, bits: LengthBits) {
    this.#socket = dialled.socket;
    this.#port = dialled.port;
    this.#clock = clock;
    this.#bits = bits;
    this.#maxMessageBytes = options.maxMessageBytes ?? 1024 * 1024;
    this.#keepalive = options.keepalive === false ? undefined : (options.keepalive ?? DEFAULT_KEEPALIVE);
    this.#flow = new Flow({ bits, far: this.#keepalive, now: clock.now() });
    this.#armKeepalive();
    this.#socket.on("end", () => this.#ended());
    this.#socket.on("error", (error) => this.#finish(`the connection broke: ${error.message}`));
    this.#socket.on("close", () => this.#finish("it was closed"));
    if (dialled.early !== undefined) this.#read(dialled.early);
    const before = this.#port.listen((chunk) => this.#read(chunk));
    if (before !== undefined) this.#read(before);
    this.#socket.resume();
  }

  /** Where the session ended up, after any retarget. */
  get remote(): { readonly address: string; readonly port: number } {
    return { address: this.#socket.remoteAddress ?? "", port: this.#socket.remotePort ?? 0 };
  }

  get keepalivesReceived(): number {
    return this.#flow.keepalivesReceived.far;
  }

  /**
   * Sends one message. Resolves when there is room for another.
   * @throws HoldfastError `invalid-argument` when it is too long to be one, `session-ended`.
   */
  async send(payload: Uint8Array): Promise<void> {
    if (payload.length > (this.#bits === 17 ? MAX_17 : MAX_24)) {
      throw new HoldfastError(
        "invalid-argument",
        `A message has at most 2^${this.#bits} - 1 bytes; cut it in two.`,
        {
          detail: { bytes: payload.length },
        },
      );
    }
    if (this.#over !== undefined || !this.#socket.writable) throw ended("it was closed");
    const header = encodeMessageHeader(payload.length);
    const now = this.#clock.now();
    // Both are written in one go, so that a keepalive can only come before or after them.
    for (const part of [header, Buffer.from(payload.buffer, payload.byteOffset, payload.length)])
      this.#flow.up(part, now);
    this.#socket.cork();
    this.#socket.write(header);
    const room = this.#socket.write(payload);
    this.#socket.uncork();
    if (room) return;
    await new Promise<void>((resolve) => {
      const go = (): void => {
        this.#socket.off("drain", go).off("close", go);
        resolve();
      };
      this.#socket.on("drain", go).on("close", go);
    });
  }

  /** @throws HoldfastError `session-ended` when the session was cut or the other side broke the protocol. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        this.#queuedBytes -= message.length + PER_MESSAGE;
        if (this.#paused && this.#queuedBytes < QUEUE_BYTES) this.#resume();
        yield message;
      } else if (this.#over !== undefined) {
        if (this.#over.error !== undefined) throw this.#over.error;
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }

  /** Closes in order: what was sent is delivered. Resolves when the connection is gone. */
  async close(): Promise<void> {
    this.#settle({});
    if (this.#socket.closed) return;
    const closed = new Promise<void>((resolve) => this.#socket.once("close", () => resolve()));
    this.#socket.resume();
    this.#socket.end();
    const cancel = this.#clock.after(CLOSE_MS, () => this.#socket.destroy());
    await closed;
    cancel();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #read(chunk: Buffer): "go" | "pause" {
    if (this.#over !== undefined) return "go";
    // The port reads into the same memory again, and messages are kept until somebody takes them.
    const bytes = this.#flow.down(Buffer.from(chunk), this.#clock.now());
    if (isFault(bytes)) {
      this.#finish(`the other side broke the protocol: ${bytes.why}`);
      this.#socket.destroy();
      return "go";
    }
    this.#inbox.append(bytes);
    this.#deliver();
    this.#paused = this.#queuedBytes >= QUEUE_BYTES;
    return this.#paused ? "pause" : "go";
  }

  #deliver(): void {
    for (;;) {
      const packet = this.#inbox.take((bytes) =>
        decodeSessionPacket(bytes, this.#bits, this.#maxMessageBytes),
      );
      if (packet === undefined) break;
      if (isFault(packet)) {
        this.#finish(`the other side broke the protocol: ${packet.why}`);
        this.#socket.destroy();
        return;
      }
      if (packet.type !== "session-message") continue;
      this.#messages.push(packet.payload);
      this.#queuedBytes += packet.payload.length + PER_MESSAGE;
    }
    if (this.#messages.length > 0) this.#wake();
  }

  #resume(): void {
    this.#paused = false;
    this.#socket.resume();
  }

  #ended(): void {
    if (this.#inbox.size > 0) this.#finish("it was closed within a message");
    else this.#settle({});
    this.#socket.end();
  }

  #finish(why: string): void {
    this.#settle({ error: ended(why) });
  }

  #settle(over: { readonly error?: HoldfastError }): void {
    if (this.#over !== undefined) return;
    this.#over = over;
    this.#cancelTimer();
    this.#wake();
  }

  #armKeepalive(): void {
    const at = this.#flow.keepaliveAt;
    if (at === undefined) return;
    this.#cancelTimer = this.#clock.after(Math.max(at - this.#clock.now(), 1), () => {
      if (this.#over !== undefined) return;
      const bytes =
        this.#socket.writableLength === 0 ? this.#flow.keepalive("far", this.#clock.now()) : undefined;
      if (bytes !== undefined) this.#socket.write(bytes);
      this.#armKeepalive();
    });
  }
}

/** Messages waiting to be taken beyond which the other side has to wait. */
const QUEUE_BYTES = 1024 * 1024;
/** What a message takes beside its bytes, so that many empty ones count too. */
const PER_MESSAGE = 128;
const CLOSE_MS = 5_000;

function ended(why: string): HoldfastError {
  return new HoldfastError("session-ended", `The session is over: ${why}.`, { detail: { why } });
}

/** This host's name, cut to what NetBIOS allows. */
function ownName(): string {
  const name = (hostname().split(".")[0] ?? "").replace(/[^\x21-\x7e]|[<>]/gu, "").slice(0, 15);
  return name === "" ? "HOLDFAST" : name;
}
