import type { Socket } from "node:net";
import type { CloseCause, Draft } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import { Relay } from "../../transport/relay.ts";
import type { RelayClient } from "../../transport/relay-server.ts";
import type {
  Carrier,
  Counts,
  RelayRequest,
  RelaySession,
  RelaySessions,
} from "../../transport/relay-session.ts";
import { endOf } from "../../transport/relay-session.ts";
import { plainAddress } from "./address.ts";
import { Association } from "./association.ts";
import type { Command, Endpoint, Failure } from "./codec.ts";
import { isUnspecified, listenForPeer } from "./listening.ts";
import type { Action, Credentials, Input } from "./machine.ts";
import { ServerMachine } from "./machine.ts";
import type { Identity, Settings } from "./options.ts";
import type { Reached } from "./outgoing.ts";
import { Attempt, localEnd, reach } from "./outgoing.ts";
import type { Question } from "./rules.ts";
import { Watch } from "./watch.ts";

/** What a connection needs of its server. */
export interface Surroundings {
  readonly settings: Settings;
  readonly sessions: RelaySessions;
  /** Counts one more relay of a principal; false when it has as many as it may. `undefined` is nobody in particular. */
  enter(principal: string | undefined): boolean;
  leave(principal: string | undefined): void;
  /** The client's socket is closed and all that hung on it. */
  gone(connection: Connection): void;
}

/** One client: the machine's hands and feet, from accepting the socket to the end of its session. */
export class Connection implements RelayClient, Carrier {
  seat = -1;
  readonly #around: Surroundings;
  readonly #socket: Socket;
  readonly #machine: ServerMachine;
  readonly #startedAt: number;
  /** Asked for when the socket may be closed already, so it is kept. */
  readonly #client: string;
  readonly #attempt = new Attempt();
  #unsent: Buffer | undefined;
  #deadlineAt: number | undefined;
  #cancelTimer: (() => void) | undefined;
  #identity: Identity | undefined;
  #method: Credentials["method"] = "none";
  #entered = false;
  #reached: Reached | undefined;
  #association: Association | undefined;
  #watch: Watch | undefined;
  #relay: Relay | undefined;
  #session: RelaySession | undefined;
  #over: Promise<void> | undefined;
  #resolveOver: () => void = () => {};
  #finished = false;

  constructor(around: Surroundings, socket: Socket) {
    this.#around = around;
    this.#socket = socket;
    this.#client = plainAddress(socket.remoteAddress ?? "");
    this.#startedAt = around.settings.kernel.clock.now();
    this.#machine = new ServerMachine(around.settings.machine);
    socket.on("data", this.#data);
    socket.on("end", this.#ended);
    socket.on("error", this.#broken);
    socket.on("close", this.#closed);
    this.#perform(this.#machine.start(this.#startedAt));
  }

  /** True until there is a relay to be counted and ended as a session. */
  get negotiating(): boolean {
    return this.#session === undefined;
  }

  /** Bytes passed on so far. */
  get counts(): Counts {
    if (this.#association !== undefined) return { up: this.#association.up, down: this.#association.down };
    return { up: this.#relay?.bytesUp ?? 0, down: this.#relay?.bytesDown ?? 0 };
  }

  /** The kernel's word. */
  close(cause: CloseCause): Promise<void> {
    return this.abort(reasonOf(cause));
  }

  /** Closes everything at once. Resolves when both sides are closed. */
  abort(why: string): Promise<void> {
    if (this.#finished) return Promise.resolve();
    this.#over ??= new Promise((resolve) => (this.#resolveOver = resolve));
    if (this.#relay !== undefined) this.#relay.abort(why);
    else {
      this.#watch?.stop("aborted", why);
      this.#attempt.cancel();
      if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
    }
    return this.#over;
  }

  readonly #data = (bytes: Buffer): void => {
    this.#handle({ type: "bytes", bytes });
    if (this.#machine.held > HELD_BYTES) this.#socket.pause();
  };

  readonly #ended = (): void => {
    this.#handle({ type: "ended" });
    // RFC 1928 §7: an association ends with the TCP connection it was asked for on.
    this.#watch?.stop("finished");
  };

  /** `close` follows, and that is where everything is put away. */
  readonly #broken = (): void => {
    this.#socket.destroy();
  };

  readonly #closed = (): void => {
    if (this.#relay !== undefined) return;
    this.#cancelTimer?.();
    this.#attempt.cancel();
    this.#watch?.stop("finished");
    if (this.#watch === undefined) this.#finish();
  };

  #handle(input: Input): void {
    this.#perform(this.#machine.handle(input, this.#around.settings.kernel.clock.now()));
  }

  #perform(actions: readonly Action[]): void {
    for (const action of actions) {
      switch (action.type) {
        case "send":
          this.#send(action.bytes, actions);
          break;
        case "authenticate":
          this.#run(this.#authenticate(action.credentials));
          break;
        case "open":
          this.#open(action.command, action.destination);
          break;
        case "deadline":
          this.#schedule(action.at);
          break;
        case "relay":
          this.#startRelay(action.early);
          break;
        case "associated":
          this.#ignoreData();
          break;
        case "close":
          this.#hangUp();
          break;
      }
    }
  }

  /** A client that did not wait for our choice of method gets it with the reply: one packet less. */
  #send(bytes: Buffer, batch: readonly Action[]): void {
    const all = this.#unsent === undefined ? bytes : Buffer.concat([this.#unsent, bytes]);
    this.#unsent = undefined;
    if (batch.some((action) => action.type === "open")) this.#unsent = all;
    else if (!this.#socket.destroyed) this.#socket.write(all);
  }

  /** One timer; moving the deadline back does not touch it. */
  #schedule(at: number | undefined): void {
    this.#deadlineAt = at;
    if (at === undefined || at === Infinity) {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
    } else if (this.#cancelTimer === undefined) this.#arm(at);
  }

  #arm(at: number): void {
    const { clock } = this.#around.settings.kernel;
    this.#cancelTimer = clock.after(Math.min(Math.max(at - clock.now(), 0), LONGEST_TIMER_MS), () => {
      this.#cancelTimer = undefined;
      const due = this.#deadlineAt;
      if (due === undefined) return;
      if (clock.now() < due) this.#arm(due);
      else this.#handle({ type: "time" });
    });
  }

  /** What goes wrong in our own house is a general failure to the client, and told to whoever runs it. */
  #run(work: Promise<void>): void {
    work.catch((error: unknown) => {
      this.#around.settings.onFault(error);
      this.#handle({ type: "verdict", good: false });
      this.#fail("general-failure");
    });
  }

  async #authenticate(credentials: Credentials): Promise<void> {
    const { settings } = this.#around;
    let good = settings.anonymous && credentials.method === "user-id";
    if (credentials.method !== "none" && settings.authenticate !== undefined) {
      this.#identity = await settings.authenticate(credentials, { address: this.#client });
      good ||= this.#identity !== undefined;
    } else if (credentials.method === "password" && settings.users !== undefined) {
      good = await settings.users.verify(credentials.username, credentials.password);
      if (good) this.#identity = { principal: credentials.username };
    }
    if (good) this.#method = credentials.method;
    this.#handle({ type: "verdict", good });
    if (this.#machine.held <= HELD_BYTES && !this.#socket.destroyed) this.#socket.resume();
  }

  #open(command: Command, { host, port }: Endpoint): void {
    const principal = this.#identity?.principal;
    if (!this.#around.enter(principal)) return this.#fail("not-allowed");
    this.#entered = true;
    const question: Question = { principal, command, client: this.#client, host, port };
    if (command === "connect") this.#run(this.#connect(question));
    else if (command === "bind") this.#run(this.#bind(question));
    else this.#run(this.#associate(question));
  }

  async #connect(question: Question): Promise<void> {
    const result = await reach(this.#around.settings, question, this.#attempt);
    if ("failure" in result) return this.#fail(result.failure);
    this.#reached = result;
    if (!(await this.#establish(question, result.leg.socket))) return;
    this.#opened(result.bound);
    if (this.#relay === undefined) this.#drop();
  }

  async #bind(question: Question): Promise<void> {
    const result = await listenForPeer(
      this.#around.settings,
      question,
      localEnd(this.#socket).host,
      this.#attempt,
    );
    if ("failure" in result) return this.#fail(result.failure);
    this.#opened(result.bound);
    const arrived = await result.peer;
    if ("failure" in arrived) return this.#fail(arrived.failure);
    this.#reached = arrived.reached;
    if (!(await this.#establish(question, arrived.reached.leg.socket))) return;
    this.#handle({ type: "accepted", peer: arrived.endpoint });
    if (this.#relay === undefined) this.#drop();
  }

  async #associate(question: Question): Promise<void> {
    const { settings } = this.#around;
    // The destinations are in the datagrams; what stands here is where the client will send from.
    if (!settings.rules.allowsAnything(question)) return this.#fail("not-allowed");
    if (settings.upstreamFor(question) !== undefined) return this.#fail("command-not-supported");
    const announced = isUnspecified(question.host) ? { host: "", port: question.port } : question;
    const association = await Association.open({
      settings,
      principal: question.principal,
      client: this.#client,
      clientSide: localEnd(this.#socket).host,
      announced,
      onTraffic: () => this.#watch?.traffic() ?? false,
    });
    this.#association = association;
    if (this.#socket.destroyed || !(await this.#establish(question, undefined))) {
      await association.close();
      return;
    }
    this.#watch = new Watch({
      clock: settings.kernel.clock,
      limits: settings.limits,
      bytes: () => association.up + association.down,
      onStop: (outcome) => {
        void association.close().then(() => {
          if (outcome.reason === "finished") this.#socket.destroy();
          else if (!this.#socket.destroyed) this.#socket.resetAndDestroy();
          this.#finish(endOf({ ...outcome, bytesUp: association.up, bytesDown: association.down }));
        });
      },
    });
    this.#opened(association.bound);
    if (this.#machine.stage !== "open") this.#watch.stop("aborted", "the client waited no longer");
  }

  /** Makes the session. False when the kernel refuses it, or the client has gone; then nothing is left open. */
  async #establish(question: Question, far: Socket | undefined): Promise<boolean> {
    const { settings, sessions } = this.#around;
    let session: RelaySession;
    try {
      session = await sessions.open(this.#request(question), this);
    } catch (error) {
      far?.destroy();
      if (!isHoldfastError(error)) throw error;
      const refused = ["locked", "establish-refused", "limit-reached"].includes(error.code);
      if (!refused) settings.onFault(error);
      this.#fail(refused ? "not-allowed" : "general-failure");
      return false;
    }
    if (!this.#socket.destroyed && !session.closing) {
      this.#session = session;
      return true;
    }
    far?.destroy();
    await session.end("crashed", { by: "client", why: "the client left" });
    return false;
  }

  #request({ command, host, port }: Question): RelayRequest {
    const identity = this.#identity;
    const target = host.includes(":") ? `[${host}]` : host;
    const { idleMs, absoluteMs, limit } = this.#around.settings.session;
    const request: Draft<RelayRequest> = {
      mechanism: "socks",
      peer: { address: this.#client, agent: this.#machine.version === 4 ? "SOCKS4" : "SOCKS5" },
      label: command === "associate" ? "udp" : `${command === "bind" ? "bind " : ""}${target}:${port}`,
      startedAt: this.#startedAt,
    };
    if (idleMs !== undefined) request.idleMs = idleMs;
    if (absoluteMs !== undefined) request.absoluteMs = absoluteMs;
    if (limit !== undefined) request.limit = limit;
    // Named one by one: what else a callback may have put there is not the kernel's.
    if (identity !== undefined) request.principal = identity.principal;
    if (identity?.roles !== undefined) request.roles = identity.roles;
    if (identity?.tenant !== undefined) request.tenant = identity.tenant;
    if (this.#method === "password") request.authentication = BY_PASSWORD;
    return request;
  }

  #opened(bound: Endpoint): void {
    this.#handle({ type: "opened", bound });
  }

  #fail(reply: Failure): void {
    this.#handle({ type: "failed", reply });
  }

  /** The machine no longer wanted what was opened: the client waited for it longer than it may. */
  #drop(): void {
    this.#reached?.leg.socket.destroy();
    void this.#session?.end("timeout", { why: "opened too late" });
    this.#session = undefined;
  }

  #startRelay(early: Buffer): void {
    const { settings } = this.#around;
    const { idleMs, maxBytes } = settings.limits;
    const reached = this.#reached;
    if (reached === undefined) return this.#hangUp();
    const absoluteAt = this.#session?.record.absoluteAt;
    this.#ignoreData();
    this.#socket.off("end", this.#ended);
    this.#relay = new Relay({
      near: { socket: this.#socket, early },
      far: reached.leg,
      clock: settings.kernel.clock,
      ...(idleMs !== Infinity && { idleMs }),
      ...(absoluteAt !== undefined && { absoluteAt }),
      ...(maxBytes !== Infinity && { maxBytes }),
      onEnd: (outcome) => this.#finish(endOf(outcome)),
    });
  }

  /** What still comes on the client's connection has no meaning; only its end has. */
  #ignoreData(): void {
    this.#socket.off("data", this.#data);
    this.#socket.resume();
  }

  /**
   * RFC 1928 §6: after a failure reply the connection is closed within 10 s. Unread bytes would turn our close into a
   * reset that can overtake the reply, so they are read until the client has closed as well, within reason.
   */
  #hangUp(): void {
    const socket = this.#socket;
    this.#attempt.cancel();
    if (socket.destroyed) return;
    this.#ignoreData();
    socket.end();
    const cancel = this.#around.settings.kernel.clock.after(LINGER_MS, () => socket.destroy());
    socket.once("close", cancel);
  }

  /** Both sides are closed: the session ends, and the server forgets this connection. */
  #finish(end?: ReturnType<typeof endOf>): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#cancelTimer?.();
    if (this.#entered) this.#around.leave(this.#identity?.principal);
    const { by, why } = end ?? {};
    const details = { ...(by !== undefined && { by }), ...(why !== undefined && { why }) };
    if (this.#session !== undefined) void this.#session.end(end?.reason ?? "finished", details);
    this.#around.gone(this);
    this.#resolveOver();
  }
}

function reasonOf(cause: CloseCause): string {
  return cause.kind === "ended" ? cause.note.reason : cause.kind;
}

/** RFC 8176 §2. */
const BY_PASSWORD = { amr: ["pwd"] } as const;
/** What a client may send ahead of its turn before it is no longer read from. */
const HELD_BYTES = 65_536;
const LINGER_MS = 5_000;
const LONGEST_TIMER_MS = 2_147_483_647;
