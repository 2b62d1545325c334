import type { Socket } from "node:net";
import type { CloseCause } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import type { RelayClient } from "../../transport/relay-server.ts";
import type { Carrier, Counts, RelaySession, RelaySessions } from "../../transport/relay-session.ts";
import { endOf } from "../../transport/relay-session.ts";
import { Carried } from "./carried.ts";
import type { NetbiosName } from "./codec/name.ts";
import { formatName, printable } from "./codec/name.ts";
import { NEGATIVE, negativeText } from "./codec/session.ts";
import type { Dialled } from "./dial.ts";
import { dial } from "./dial.ts";
import type { AcceptorAction, AcceptorInput } from "./machine/acceptor.ts";
import { Acceptor } from "./machine/acceptor.ts";
import type { Settings } from "./options.ts";
import type { Decision, ResolvedBackend, Routes } from "./routes.ts";

/** What a connection needs of its gateway. */
export interface Gateway {
  readonly settings: Settings;
  readonly sessions: RelaySessions;
  readonly routes: Routes;
  /** True when there is room for one more session from `address`; it counts from then on until `leave`. */
  enter(address: string): boolean;
  leave(address: string): void;
  /** The connection has said whom it calls. */
  handshaken(address: string): void;
  refused(address: string, called: string, calling: string, answer: string): void;
}

/** One client's connection: its request, its backend, and the session between the two. */
export class Connection implements RelayClient, Carrier {
  seat = -1;
  /** Resolves when its socket is closed and its end is written. */
  readonly done: Promise<void>;
  readonly address: string;
  readonly #gateway: Gateway;
  readonly #socket: Socket;
  readonly #acceptor: Acceptor;
  readonly #startedAt: number;
  /** Aborted when whatever is under way for this connection is no longer wanted. */
  readonly #gone = new AbortController();
  readonly #socketClosed: Promise<void>;
  #cancelTimer: () => void = () => {};
  #opened: (early: Buffer) => void = () => {};
  #answering: Promise<void> = Promise.resolve();
  #carried: Carried | undefined;
  #handshaken = false;

  constructor(gateway: Gateway, socket: Socket) {
    const { kernel, limits, bits } = gateway.settings;
    this.#gateway = gateway;
    this.#socket = socket;
    this.address = socket.remoteAddress ?? "unknown";
    this.#startedAt = kernel.clock.now();
    this.#acceptor = new Acceptor({
      bits,
      handshakeMs: limits.handshakeMs,
      now: this.#startedAt,
    });
    this.#armDeadline();
    this.#socketClosed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.setNoDelay(true);
    // A failure shows as the socket's `close`.
    socket.on("error", () => this.#gone.abort());
    socket.on("data", this.#read);
    socket.once("end", this.#ended);
    socket.once("close", this.#ended);
    this.done = this.#live();
  }

  #armDeadline(): void {
    const { clock } = this.#gateway.settings.kernel;
    const at = this.#acceptor.deadlineAt;
    if (at === undefined) return;
    // A timer may fire a moment early; then there is a little left to wait.
    this.#cancelTimer = clock.after(Math.max(at - clock.now(), 1), () => {
      this.#handle({ type: "timeout" });
      this.#armDeadline();
    });
  }

  /** The session it carries, once it is open. */
  get carried(): Carried | undefined {
    return this.#carried;
  }

  get negotiating(): boolean {
    return this.#carried === undefined;
  }

  /** Bytes passed on so far, keepalives not counted. */
  get counts(): Counts {
    return this.#carried?.counts ?? NOTHING;
  }

  /** The kernel's word. Resolves when the client can use the connection no more. */
  async close(cause: CloseCause): Promise<void> {
    if (this.#carried !== undefined) {
      return this.#carried.abort(cause.kind === "ended" ? cause.note.reason : cause.kind);
    }
    this.#drop();
    await this.#socketClosed;
  }

  /** Ends what it carries, or drops it before it carries anything. */
  async abort(why: string): Promise<void> {
    if (this.#carried !== undefined) await this.#carried.abort(why);
    else this.#drop();
    await this.done;
  }

  async #live(): Promise<void> {
    await this.#socketClosed;
    this.#cancelTimer();
    this.#gone.abort();
    await this.#answering;
    this.#leaveHandshake();
  }

  readonly #read = (chunk: Buffer): void => this.#handle({ type: "bytes", bytes: chunk });
  readonly #ended = (): void => this.#handle({ type: "end" });

  #handle(input: AcceptorInput): void {
    for (const action of this.#acceptor.handle(input, this.#gateway.settings.kernel.clock.now()))
      this.#do(action);
  }

  #do(action: AcceptorAction): void {
    switch (action.type) {
      case "send":
        this.#socket.write(action.bytes);
        break;
      case "requested":
        this.#leaveHandshake();
        this.#socket.pause();
        this.#begin(action.called, action.calling);
        break;
      case "open":
        this.#opened(action.early);
        break;
      case "close":
        this.#gone.abort();
        this.#closeSoon();
    }
  }

  #begin(called: NetbiosName, calling: NetbiosName): void {
    const answer = this.#answer(called, calling);
    this.#answering = answer.catch((error: unknown) => {
      this.#gateway.settings.onFault(error);
      this.#drop();
    });
  }

  /** Says yes or no, and stays until the session is over. */
  async #answer(called: NetbiosName, calling: NetbiosName): Promise<void> {
    const decision = this.#gateway.routes.decide(called, calling);
    if (decision.type === "retarget") return this.#handle(decision);
    if (decision.type === "refuse") return this.#refuse(decision.code, called, calling);
    if (!this.#gateway.enter(this.address)) {
      return this.#refuse(NEGATIVE.insufficientResources, called, calling, "too many sessions");
    }
    try {
      await this.#relay(decision, called, calling);
    } finally {
      this.#gateway.leave(this.address);
    }
  }

  async #relay(
    decision: Decision & { type: "relay" },
    called: NetbiosName,
    calling: NetbiosName,
  ): Promise<void> {
    const session = await this.#open(decision, called, calling);
    if ("refuse" in session) return this.#refuse(session.refuse, called, calling, session.why);
    const dialled = await this.#dial(decision.to, called, calling);
    if (dialled.ok && !this.#gone.signal.aborted) {
      return this.#carry(session, dialled, decision.to.speaks === "netbios");
    }
    if (dialled.ok) dialled.socket.destroy();
    const text = dialled.ok || this.#gone.signal.aborted ? "the client went away" : dialled.text;
    await session.end("refused", { by: this.#gone.signal.aborted ? "client" : "backend", why: text });
    if (dialled.ok || this.#gone.signal.aborted) return this.#drop();
    // RFC 1002 §4.3.4: nobody listens there, or it could not be done; a backend's own refusal is handed on.
    return this.#refuse(dialled.code ?? CODE_OF[dialled.why], called, calling, `backend: ${text}`);
  }

  /** The session, or with what to refuse it. */
  async #open(
    decision: Decision & { type: "relay" },
    called: NetbiosName,
    calling: NetbiosName,
  ): Promise<RelaySession | { readonly refuse: number; readonly why: string }> {
    const { limits, onLimit, countsEveryMs } = this.#gateway.settings;
    const principal = this.#principal(calling);
    try {
      return await this.#gateway.sessions.open(
        {
          mechanism: "netbios",
          label: formatName(called),
          peer: { address: this.address, agent: formatName(calling) },
          startedAt: this.#startedAt,
          ...(limits.perPrincipal !== Infinity && {
            limit: { perPrincipal: limits.perPrincipal, onLimit },
          }),
          ...(principal !== undefined && { principal }),
          // The relay knows of every byte; the record, which hears of them later, is for when this process dies.
          ...(limits.idleMs !== Infinity && { idleMs: limits.idleMs + 5 * countsEveryMs }),
          ...(limits.absoluteMs !== Infinity && { absoluteMs: limits.absoluteMs }),
          data: {
            called: formatName(called),
            calling: formatName(calling),
            backend: decision.backend,
            backendAddress: `${decision.to.host}:${decision.to.port}`,
            clientPort: this.#socket.remotePort ?? 0,
          },
        },
        this,
      );
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      const barred = error.code === "locked" || error.code === "establish-refused";
      if (barred) return { refuse: NEGATIVE.notListeningForCallingName, why: error.code };
      if (error.code === "limit-reached") return { refuse: NEGATIVE.insufficientResources, why: error.code };
      this.#gateway.settings.onFault(error);
      return { refuse: NEGATIVE.unspecified, why: error.code };
    }
  }

  #principal(calling: NetbiosName): string | undefined {
    const { principal } = this.#gateway.settings;
    if (principal === "none") return undefined;
    return principal === "address" ? this.address : printable(calling.name);
  }

  #dial(to: ResolvedBackend, called: NetbiosName, calling: NetbiosName): Promise<Dialled> {
    const { kernel, limits, bits } = this.#gateway.settings;
    return dial({
      host: to.host,
      port: to.port,
      timeoutMs: limits.connectMs,
      clock: kernel.clock,
      signal: this.#gone.signal,
      ...(to.speaks === "netbios" && {
        call: {
          called: to.calledName ?? called,
          calling,
          bits,
          maxRetargets: 4,
          mayRetarget: (address, port) => to.retargets.has(`${address}:${port}`),
        },
      }),
    });
  }

  async #carry(
    session: RelaySession,
    dialled: Dialled & { ok: true },
    backendKeepalives: boolean,
  ): Promise<void> {
    let early: Buffer = Buffer.alloc(0);
    this.#opened = (bytes) => (early = bytes);
    this.#handle({ type: "accept" });
    this.#socket.off("data", this.#read);
    this.#socket.off("end", this.#ended);
    this.#socket.off("close", this.#ended);
    const legs = {
      client: this.#socket,
      clientEarly: early,
      backend: dialled.socket,
      backendPort: dialled.port,
      backendEarly: dialled.early,
      backendKeepalives,
    };
    this.#carried = new Carried(this.#gateway.settings, legs, session.record.absoluteAt);
    const { reason, by, why } = endOf(await this.#carried.closed);
    const side = by === "destination" ? "backend" : by;
    await session.end(reason, { ...(side !== undefined && { by: side }), ...(why !== undefined && { why }) });
  }

  #refuse(code: number, called: NetbiosName, calling: NetbiosName, why: string = negativeText(code)): void {
    this.#gateway.refused(this.address, formatName(called), formatName(calling), why);
    this.#handle({ type: "refuse", code });
  }

  #drop(): void {
    this.#gone.abort();
    this.#socket.destroy();
  }

  /** Lets what was written go out; a peer that does not take it, or does not close, is dropped soon after. */
  #closeSoon(): void {
    const { clock } = this.#gateway.settings.kernel;
    this.#cancelTimer();
    this.#socket.off("data", this.#read);
    this.#socket.resume();
    this.#socket.end();
    this.#cancelTimer = clock.after(LINGER_MS, () => this.#socket.destroy());
  }

  #leaveHandshake(): void {
    if (this.#handshaken) return;
    this.#handshaken = true;
    this.#cancelTimer();
    this.#gateway.handshaken(this.address);
  }
}

const LINGER_MS = 2_000;
const NOTHING: Counts = { up: 0, down: 0 };

const CODE_OF = {
  refused: NEGATIVE.unspecified,
  unreachable: NEGATIVE.notListeningOnCalledName,
  timeout: NEGATIVE.insufficientResources,
  "protocol-error": NEGATIVE.unspecified,
  "retarget-refused": NEGATIVE.unspecified,
  aborted: NEGATIVE.unspecified,
} as const;
