import type { Socket } from "node:net";
import { connectLeg } from "../../transport/connect.ts";
import type { Clock } from "../../kernel/index.ts";
import { ReadPort } from "../../transport/read-port.ts";
import type { NetbiosName } from "./codec/name.ts";
import type { LengthBits } from "./codec/session.ts";
import { negativeText } from "./codec/session.ts";
import type { CallerAction } from "./machine/caller.ts";
import { Caller } from "./machine/caller.ts";

export interface DialOptions {
  readonly host: string;
  readonly port: number;
  /** For the connection and the answer, all retargets together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal?: AbortSignal | undefined;
  /** Left out: no session request is made, the connection is all. */
  readonly call?: CallOptions;
}

export interface CallOptions {
  readonly called: NetbiosName;
  readonly calling: NetbiosName;
  readonly bits: LengthBits;
  /** RFC 1002 §6 (SSN_RETRY_COUNT) proposes 4. */
  readonly maxRetargets: number;
  readonly mayRetarget: (address: string, port: number) => boolean;
}

export type Dialled =
  | {
      readonly ok: true;
      readonly socket: Socket;
      readonly port: ReadPort;
      readonly early: Buffer | undefined;
    }
  | { readonly ok: false; readonly why: DialFailure; readonly text: string; readonly code?: number };

/** `refused`: it answered that it does not want to (`code`). `unreachable`: there is nobody at that address. */
export type DialFailure =
  | "refused"
  | "unreachable"
  | "timeout"
  | "protocol-error"
  | "retarget-refused"
  | "aborted";

/** Connects and, if asked to, calls a name and follows retargets. Never rejects. */
export async function dial(options: DialOptions): Promise<Dialled> {
  const endsAt = options.clock.now() + options.timeoutMs;
  let { host, port } = options;
  for (let hop = 0; ; hop++) {
    const reached = await new Promise<Reached>(
      (resolve) => new Attempt({ ...options, host, port }, endsAt, resolve),
    );
    if (!("retarget" in reached)) return reached;
    ({ address: host, port } = reached.retarget);
    const { call } = options;
    if (call === undefined || hop >= call.maxRetargets || !call.mayRetarget(host, port)) {
      return {
        ok: false,
        why: "retarget-refused",
        text: `it sent us on to ${host}:${port}, which is not allowed`,
      };
    }
  }
}

type Reached = Dialled | { readonly retarget: { readonly address: string; readonly port: number } };

/** One connection. */
class Attempt {
  readonly #options: DialOptions;
  readonly #resolve: (reached: Reached) => void;
  readonly #socket: Socket;
  readonly #port = new ReadPort();
  readonly #caller: Caller | undefined;
  readonly #cancelTimer: () => void;
  #settled = false;

  constructor(options: DialOptions, endsAt: number, resolve: (reached: Reached) => void) {
    this.#options = options;
    this.#resolve = resolve;
    const { host, port, clock, call, signal } = options;
    const now = clock.now();
    const leftMs = Math.max(endsAt - now, 0);
    this.#caller = call === undefined ? undefined : new Caller({ ...call, handshakeMs: leftMs, now });
    this.#cancelTimer = clock.after(leftMs, () => this.#fail("timeout", "no answer in time"));
    this.#socket = connectLeg(host, port, this.#port.onread);
    this.#socket.once("connect", () => this.#connected());
    // Stays on: whoever takes the socket over hears of a failure by its `close`.
    this.#socket.on("error", (error) => this.#fail("unreachable", error.message));
    this.#socket.once("end", this.#ended);
    signal?.addEventListener("abort", this.#aborted, { once: true });
    if (signal?.aborted === true) this.#aborted();
  }

  #connected(): void {
    if (this.#settled) return;
    if (this.#caller === undefined) {
      this.#settle({ ok: true, socket: this.#socket, port: this.#port, early: undefined });
      return;
    }
    this.#port.listen((chunk) => this.#read(chunk));
    this.#apply(this.#caller.handle({ type: "connected" }, this.#options.clock.now()));
  }

  #read(chunk: Buffer): "go" | "keep" | "pause" {
    if (this.#caller !== undefined) {
      this.#apply(this.#caller.handle({ type: "bytes", bytes: chunk }, this.#options.clock.now()));
    }
    // What follows belongs to whoever takes the socket over.
    return this.#settled ? "pause" : "keep";
  }

  #apply(actions: readonly CallerAction[]): void {
    for (const action of actions) {
      switch (action.type) {
        case "send":
          this.#socket.write(action.bytes);
          break;
        case "open":
          this.#socket.pause();
          this.#settle({ ok: true, socket: this.#socket, port: this.#port, early: action.early });
          break;
        case "refused":
          this.#fail("refused", negativeText(action.code), action.code);
          break;
        case "retarget":
          this.#settle({ retarget: action });
          this.#socket.destroy();
          break;
        case "failed":
          this.#fail(
            action.why === "gone" ? "unreachable" : action.why,
            action.fault?.why ?? "the connection was closed before the answer",
          );
      }
    }
  }

  readonly #ended = (): void => {
    if (this.#caller !== undefined)
      this.#apply(this.#caller.handle({ type: "end" }, this.#options.clock.now()));
  };

  readonly #aborted = (): void => this.#fail("aborted", "it is no longer wanted");

  #fail(why: DialFailure, text: string, code?: number): void {
    if (this.#settled) return;
    this.#settle({ ok: false, why, text, ...(code !== undefined && { code }) });
    this.#socket.destroy();
  }

  #settle(reached: Reached): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#cancelTimer();
    this.#options.signal?.removeEventListener("abort", this.#aborted);
    this.#socket.off("end", this.#ended);
    this.#resolve(reached);
  }
}
