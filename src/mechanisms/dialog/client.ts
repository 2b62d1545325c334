import { HoldfastError } from "../../kernel/errors.ts";
import type { Fault } from "../../wire/fault.ts";
import { isFault } from "../../wire/fault.ts";
import { encodeFrame, FrameReader } from "./codec.ts";
import type { ConnectOptions } from "./connect-options.ts";
import type { ProofKey } from "./proof-key.ts";
import { bytesOf, unitsOf } from "./connect-options.ts";
import { Dialog } from "./dialog.ts";
import type { DialogEnd, DialogHost } from "./told.ts";
import type { Credit, Frame } from "./frames.ts";
import {
  ABORT_EXPIRED,
  ABORT_PROTOCOL_ERROR,
  ABORT_REVOKED,
  ABORT_SUPERSEDED,
  ABORT_USER,
  REFUSED_BUSY,
  REFUSED_ENDED,
  REFUSED_LOCKED,
  REFUSED_UNAVAILABLE,
} from "./numbers.ts";
import { DialogMachine } from "./machine/machine.ts";
import { placementOf } from "./machine/agreement.ts";
import type { Rules } from "./machine/rules.ts";

/** One connection, whatever carries it. Messages of the binding go in and come out whole. */
export interface Link {
  /** Bytes given to `send` that have not left yet; the name is a WebSocket's, which is a link as it is. */
  readonly bufferedAmount: number;
  send(message: Uint8Array): void;
  close(): void;
}

export interface LinkListener {
  readonly open: () => void;
  readonly message: (bytes: Uint8Array) => void;
  /** Bytes have left; only where the binding can tell. */
  readonly drained: () => void;
  /** Once, also when it never opened. */
  readonly closed: () => void;
}

/** What a client needs of the place it runs in. */
export interface Surroundings {
  /**
   * Begins to open a link; what comes of it the listener hears, never before this returns. `failures` counts the links that
   * came to nothing: some networks let no WebSocket through, or swallow what goes over it, so that another way is taken at
   * every odd one. The way that works is kept.
   */
  open(url: string, listener: LinkListener, failures: number): Link;
  /** Runs `run` once all that is being done now is done, microtasks included. */
  defer(run: () => void): void;
  /** The rules for a dialog that may have these units. */
  rules(units: number): Rules | Promise<Rules>;
  /** Puts a reason of the machine into words. */
  explain(reason: string): string;
  /** Calls `run` when the network has come back; returns how to stop. */
  online?(run: () => void): () => void;
}

/**
 * Opens a dialog, and keeps it over as many links as it takes.
 * @throws HoldfastError `establish-refused` when the server does not want it, with the code in `detail`.
 */
export async function connectOver(
  around: Surroundings,
  url: string,
  options: ConnectOptions = {},
): Promise<Dialog> {
  const key = options.proof === true ? await (await import("./proof-key.ts")).proofKey() : undefined;
  const rules = await around.rules(unitsOf(options));
  return new ClientDialog(around, url, options, rules, key).opened;
}

type OpenedFrame = Extract<Frame, { type: "opened" }>;
type Refusal = Extract<Frame, { type: "refused" }>;

class ClientDialog implements DialogHost {
  readonly opened: Promise<Dialog>;
  handle = "";
  readonly #around: Surroundings;
  readonly #offline: (() => void) | undefined;
  readonly #options: ConnectOptions;
  readonly #rules: Rules;
  readonly #key: ProofKey | undefined;
  readonly #credit: Credit;
  #url: string;
  #link: Link | undefined;
  /** Whether the present link has been agreed on. */
  #ready = false;
  #machine: DialogMachine | undefined;
  #dialog: Dialog | undefined;
  #secret = "";
  #epoch = 0;
  #holdMs = 0;
  #lostAt = 0;
  #attempts = 0;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #scheduled = false;
  #over = false;
  #resolve: (dialog: Dialog) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor(
    around: Surroundings,
    url: string,
    options: ConnectOptions,
    rules: Rules,
    key: ProofKey | undefined,
  ) {
    this.#around = around;
    this.#url = url;
    this.#options = options;
    this.#rules = rules;
    this.#key = key;
    this.#credit = options.credit ?? { messages: 1024, bytes: 1_048_576 };
    this.opened = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const { signal } = options;
    const aborted = (): void => {
      if (this.#dialog === undefined) this.#finish({ reason: "aborted", why: "signal" });
    };
    signal?.addEventListener("abort", aborted);
    // Where there was no network a wait makes no sense once it is back.
    const online = (): void => {
      if (!this.#over && this.#link === undefined) this.#attempt();
    };
    this.#offline = around.online?.(online);
    if (signal?.aborted === true) aborted();
    this.#attempt();
  }

  // ── what the dialog asks for ────────────────────────────────────────────────────────────────────────────────

  changed(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // All that is said in one turn goes out as one message, and one acknowledgement answers all that was read in it.
    this.#around.defer(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  abort(why: string): void {
    this.#machine?.farewell({ type: "abort", code: ABORT_USER, why });
    this.#flush();
    this.#finish({ reason: "aborted", why });
  }

  explain(reason: string): string {
    return this.#around.explain(reason);
  }

  // ── links ───────────────────────────────────────────────────────────────────────────────────────────────────

  #attempt(): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    const listener: LinkListener = {
      open: () => {
        if (this.#link === link) void this.#greet(link);
      },
      message: (bytes) => {
        if (this.#link === link) void this.#message(link, bytes);
      },
      drained: () => {
        if (this.#link === link) this.#flush();
      },
      closed: () => {
        if (this.#link === link) this.#lost();
      },
    };
    const link = this.#around.open(this.#url, listener, this.#failures);
    this.#link = link;
    this.#timer = setTimeout(() => this.#drop(link), HANDSHAKE_MS);
  }

  #drop(link: Link): void {
    if (this.#link !== link) return;
    link.close();
    this.#lost();
  }

  #lost(): void {
    clearTimeout(this.#timer);
    this.#link = undefined;
    const wasReady = this.#ready;
    this.#ready = false;
    if (this.#over) return;
    const now = Date.now();
    if (wasReady) {
      this.#lostAt = now;
      this.#machine?.linkDown();
      this.#dialog?.linkChanged("down");
    } else this.#failures++;
    if (this.#dialog !== undefined && now - this.#lostAt > this.#holdMs) {
      this.#finish({ reason: "expired", why: "no link in time" });
      return;
    }
    this.#again(wasReady ? 0 : this.#pause());
  }

  #pause(): number {
    const { minMs = 100, maxMs = 10_000 } = this.#options.reconnect ?? {};
    const span = Math.min(maxMs, minMs * 2 ** this.#attempts++);
    return span / 2 + (Math.random() * span) / 2;
  }

  #again(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#attempt(), ms);
  }

  async #greet(link: Link): Promise<void> {
    const { authorization = "" } = this.#options;
    const said = typeof authorization === "function" ? await authorization() : authorization;
    if (this.#link !== link) return;
    link.send(
      encodeFrame(
        this.#machine === undefined ? this.#openFrame(said) : this.#resumeFrame(this.#machine, said),
      ),
    );
  }

  #openFrame(authorization: string): Frame {
    const {
      checkpoint,
      theirTokens = 0,
      maxMessageBytes = 1_048_576,
      holdMs = 120_000,
      label = "",
      data = NOTHING,
    } = this.#options;
    return {
      type: "open",
      version: 1,
      units: unitsOf(this.#options),
      placement: placementOf(~theirTokens),
      checkpointBytes: bytesOf(checkpoint?.every ?? 0),
      checkpointWindow: checkpoint?.window ?? 0,
      maxMessageBytes,
      credit: this.#credit,
      holdMs,
      proofKey: this.#key?.publicKey ?? NOTHING,
      authorization,
      label,
      data,
    };
  }

  #resumeFrame(machine: DialogMachine, authorization: string): Frame {
    const { handle } = this;
    return {
      type: "resume",
      handle,
      secret: this.#secret,
      authorization,
      position: machine.position,
      credit: this.#credit,
    };
  }

  async #message(link: Link, bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    if (!this.#ready) {
      const reader = new FrameReader(bytes);
      const frame = reader.next();
      if (frame === undefined || isFault(frame)) return this.#drop(link);
      rest = reader.rest();
      switch (frame.type) {
        case "opened":
          if (this.#machine !== undefined) return this.#drop(link);
          this.#begin(frame);
          break;
        case "resumed": {
          this.#secret = frame.secret;
          this.#epoch = frame.epoch;
          this.#holdMs = frame.holdMs;
          const why = this.#machine?.linkUp(frame.position, frame.credit, Date.now());
          if (why !== undefined) return this.#fail(why);
          break;
        }
        case "challenge":
          return this.#prove(link, frame.nonce);
        case "refused":
          return this.#refused(frame);
        default:
          return this.#drop(link);
      }
      this.#ready = true;
      this.#attempts = 0;
      clearTimeout(this.#timer);
      this.#dialog?.linkChanged("up");
    }
    const why = rest.length === 0 ? undefined : this.#machine?.receive(rest, Date.now());
    // What came before the fault was good, and is told.
    this.#absorb();
    if (why !== undefined) return this.#fail(why);
    this.#flush();
  }

  #begin(frame: OpenedFrame): void {
    this.handle = frame.handle;
    this.#secret = frame.secret;
    this.#epoch = frame.epoch;
    this.#holdMs = frame.holdMs;
    const machine = new DialogMachine({
      agreement: frame,
      side: 0,
      rules: this.#rules,
      credit: this.#credit,
      outboxBytes: this.#options.outboxBytes ?? 4_194_304,
      pingMs: frame.pingMs,
    });
    machine.linkUp({ next: 0, committed: 0, sent: 0 }, frame.credit, Date.now());
    this.#machine = machine;
    this.#dialog = new Dialog(machine, this);
    this.#resolve(this.#dialog);
  }

  async #prove(link: Link, nonce: Uint8Array): Promise<void> {
    if (this.#key === undefined) return this.#drop(link);
    const signature = await this.#key.sign(this.handle, this.#epoch, nonce);
    if (this.#link === link) link.send(encodeFrame({ type: "proof", signature }));
  }

  #refused({ code, retryMs, why }: Refusal): void {
    if (code === REFUSED_BUSY || code === REFUSED_UNAVAILABLE) {
      this.#link?.close();
      this.#link = undefined;
      this.#again(Math.max(retryMs, this.#pause()));
      return;
    }
    const state = this.#machine?.state;
    const done = code === REFUSED_ENDED && state !== undefined && (state.finish === 0 || state.finished);
    const reason = done
      ? "finished"
      : code === REFUSED_LOCKED
        ? "revoked"
        : code === REFUSED_ENDED
          ? "expired"
          : "refused";
    this.#finish({ reason, why }, code);
  }

  #fail(why: Fault): void {
    const said = this.explain(why.why);
    this.#machine?.farewell({ type: "abort", code: ABORT_PROTOCOL_ERROR, why: said });
    this.#flush();
    this.#finish({ reason: "failed", why: said });
  }

  // ── moving ──────────────────────────────────────────────────────────────────────────────────────────────────

  #absorb(): void {
    const machine = this.#machine;
    if (machine === undefined) return;
    this.#dialog?.absorb((event) => {
      if (event.type === "quiet" && this.#link !== undefined) this.#drop(this.#link);
      else if (event.type === "migrate") {
        if (event.url !== "") this.#url = event.url;
        if (this.#link !== undefined) this.#drop(this.#link);
      } else if (event.type === "abort" && event.code !== ABORT_SUPERSEDED) {
        const reason =
          event.code === ABORT_REVOKED ? "revoked" : event.code === ABORT_EXPIRED ? "expired" : "aborted";
        this.#finish({ reason, why: event.why });
      }
    });
    if (machine.state.finished && (machine.settled || machine.state.finish === 0)) {
      this.#flush();
      if (machine.settled) this.#finish({ reason: "finished", why: "" });
    }
  }

  #flush(): void {
    const link = this.#link;
    const machine = this.#machine;
    if (link === undefined || machine === undefined || !this.#ready) return;
    while (link.bufferedAmount < HIGH_WATER) {
      const bytes = machine.output(BATCH_BYTES);
      if (bytes === undefined) break;
      link.send(bytes);
    }
    clearTimeout(this.#timer);
    const now = Date.now();
    // Not every binding can tell when there is room again.
    const wait = machine.hasOutput ? 5 : machine.tick(now) - now;
    if (wait !== Infinity) {
      this.#timer = setTimeout(() => {
        machine.tick(Date.now());
        this.#absorb();
        this.#flush();
      }, wait);
    }
  }

  #finish(end: DialogEnd, code = 0): void {
    if (this.#over) return;
    this.#over = true;
    this.#offline?.();
    clearTimeout(this.#timer);
    this.#link?.close();
    this.#machine?.linkDown();
    this.#dialog?.close(end);
    this.#reject(new HoldfastError("establish-refused", `Not opened: ${end.why}.`, { detail: { code } }));
  }
}

const NOTHING = new Uint8Array(0);
const HANDSHAKE_MS = 10_000;
const HIGH_WATER = 1_048_576;
const BATCH_BYTES = 65_536;
