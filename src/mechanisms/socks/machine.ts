import type { Decoded, Fault } from "../../wire/index.ts";
import { Inbox, isFault } from "../../wire/index.ts";
import type { Command, Endpoint, Failure, Request } from "./codec.ts";
import {
  decodeGreeting,
  decodePassword,
  decodeRequest,
  decodeRequest4,
  encodeChoice,
  encodePasswordStatus,
  encodeReply,
  encodeReply4,
  METHOD,
} from "./codec.ts";

export interface MachineOptions {
  /** From the first moment until the request is complete and its sender known. */
  readonly handshakeMs: number;
  /** How long a CONNECT or ASSOCIATE may take to be carried out. */
  readonly connectMs: number;
  /** How long a BIND waits for its peer. */
  readonly bindMs: number;
  /** Whether a client may come without a password. */
  readonly anonymous: boolean;
  /** Whether user names and passwords can be checked. */
  readonly passwords: boolean;
  readonly versions: readonly (4 | 5)[];
}

/** Who a client says it is. A SOCKS4 client has a user ID (often empty) and nothing to prove it with. */
export type Credentials =
  | { readonly method: "password"; readonly username: string; readonly password: string }
  | { readonly method: "user-id"; readonly userId: string }
  | { readonly method: "none" };

export type Input =
  | { readonly type: "bytes"; readonly bytes: Buffer }
  /** The answer to `authenticate`. */
  | { readonly type: "verdict"; readonly good: boolean }
  /** CONNECT and ASSOCIATE are carried out; for BIND the port listens. */
  | { readonly type: "opened"; readonly bound: Endpoint }
  /** BIND: the peer has come. */
  | { readonly type: "accepted"; readonly peer: Endpoint }
  | { readonly type: "failed"; readonly reply: Failure }
  /** The client will send no more. */
  | { readonly type: "ended" }
  /** The instant of the last `deadline` action has come. */
  | { readonly type: "time" };

export type Action =
  | { readonly type: "send"; readonly bytes: Buffer }
  | { readonly type: "authenticate"; readonly credentials: Credentials }
  | { readonly type: "open"; readonly command: Command; readonly destination: Endpoint }
  /** Replaces the deadline before it. `undefined`: none any more. */
  | { readonly type: "deadline"; readonly at: number | undefined }
  /** From here on bytes go between client and destination; `early` came behind the request already. */
  | { readonly type: "relay"; readonly early: Buffer }
  /** UDP is served for as long as the connection stands; what comes on it is of no meaning. */
  | { readonly type: "associated" }
  /** Close once everything is sent; `why` is for people. */
  | { readonly type: "close"; readonly why: string; readonly cause: CloseCause };

/** `timeout`: the client was too slow. `refused`: we said no, in the protocol's words. `gone`: the client left. */
export type CloseCause = "timeout" | "refused" | "protocol-error" | "gone";

type Stage =
  | "version"
  | "greeting"
  | "password"
  | "checking"
  | "request"
  | "request4"
  | "opening"
  | "listening"
  | "open"
  | "closed";

/**
 * The server's side of one client's connection, from its first byte until the relay stands (RFC 1928, RFC 1929, SOCKS4
 * and 4a). It neither reads a clock nor touches a socket: input goes in with the time, actions come out.
 */
export class ServerMachine {
  readonly #options: MachineOptions;
  readonly #inbox = new Inbox();
  #stage: Stage = "version";
  #version: 4 | 5 = 5;
  #request: Request | undefined;
  #deadlineAt = Infinity;
  #actions: Action[] = [];

  constructor(options: MachineOptions) {
    this.#options = options;
  }

  /** Bytes kept that came ahead of their time. The caller stops reading when they are too many. */
  get held(): number {
    return this.#inbox.size;
  }

  /** 5 until the client has said otherwise. */
  get version(): 4 | 5 {
    return this.#version;
  }

  get stage(): Stage {
    return this.#stage;
  }

  start(now: number): Action[] {
    this.#deadline(now + this.#options.handshakeMs);
    return this.#take();
  }

  handle(input: Input, now: number): Action[] {
    if (this.#stage === "closed" || this.#stage === "open") return [];
    switch (input.type) {
      case "bytes":
        this.#inbox.append(input.bytes);
        this.#read(now);
        break;
      case "verdict":
        if (this.#stage === "checking") this.#judged(input.good, now);
        break;
      case "opened":
        if (this.#stage === "opening") this.#opened(input.bound, now);
        break;
      case "accepted":
        if (this.#stage === "listening") this.#accepted(input.peer);
        break;
      case "failed":
        if (this.#stage === "opening" || this.#stage === "listening") this.#fail(input.reply, input.reply);
        break;
      case "ended":
        this.#ended();
        break;
      case "time":
        if (now >= this.#deadlineAt) this.#late();
        break;
    }
    return this.#take();
  }

  /** Reads whatever is complete, as far as the conversation has got; the rest waits. */
  #read(now: number): void {
    for (;;) {
      switch (this.#stage) {
        case "version": {
          const version = this.#inbox.peek()[0];
          if (version === undefined) return;
          if ((version !== 4 && version !== 5) || !this.#options.versions.includes(version)) {
            return this.#close(
              "protocol-error",
              `the first byte is ${version}, which is no version served here`,
            );
          }
          this.#version = version;
          this.#stage = version === 5 ? "greeting" : "request4";
          break;
        }
        case "greeting": {
          const greeting = this.#next(decodeGreeting);
          if (greeting === undefined) return;
          this.#choose(greeting.methods);
          break;
        }
        case "password": {
          const password = this.#next(decodePassword);
          if (password === undefined) return;
          this.#stage = "checking";
          this.#actions.push({ type: "authenticate", credentials: { method: "password", ...password } });
          return;
        }
        case "request": {
          const request = this.#next(decodeRequest);
          if (request === undefined) return;
          return this.#open(request, now);
        }
        case "request4": {
          const request = this.#next(decodeRequest4);
          if (request === undefined) return;
          this.#request = request;
          this.#stage = "checking";
          const credentials: Credentials = { method: "user-id", userId: request.userId ?? "" };
          this.#actions.push({ type: "authenticate", credentials });
          return;
        }
        default:
          return;
      }
    }
  }

  /** RFC 1928 §3: one of the methods the client offers, the stronger first; if none will do, 0xff and the end. */
  #choose(methods: readonly number[]): void {
    const { passwords, anonymous } = this.#options;
    if (passwords && methods.includes(METHOD.password)) {
      this.#send(encodeChoice(METHOD.password));
      this.#stage = "password";
    } else if (anonymous && methods.includes(METHOD.none)) {
      this.#send(encodeChoice(METHOD.none));
      this.#stage = "request";
    } else {
      this.#send(encodeChoice(METHOD.unacceptable));
      this.#close("refused", `none of the methods offered will do: ${methods.join(", ") || "none at all"}`);
    }
  }

  #judged(good: boolean, now: number): void {
    if (this.#version === 4) {
      if (good && this.#request !== undefined) return this.#open(this.#request, now);
      this.#send(encodeReply4("user-id-mismatch"));
      return this.#close("refused", "the user ID is not accepted");
    }
    // RFC 1929 §2: on failure the server MUST close the connection.
    this.#send(encodePasswordStatus(good));
    if (!good) return this.#close("refused", "user name or password is wrong");
    this.#stage = "request";
    this.#read(now);
  }

  #open(request: Request, now: number): void {
    this.#request = request;
    this.#stage = "opening";
    this.#deadline(now + this.#options.connectMs);
    this.#actions.push({ type: "open", command: request.command, destination: request.destination });
  }

  #opened(bound: Endpoint, now: number): void {
    this.#succeed(bound);
    if (this.#request?.command === "bind") {
      this.#stage = "listening";
      this.#deadline(now + this.#options.bindMs);
      return;
    }
    this.#stage = "open";
    this.#deadline(undefined);
    if (this.#request?.command === "associate") this.#actions.push({ type: "associated" });
    else this.#actions.push({ type: "relay", early: this.#inbox.drain() });
  }

  /** RFC 1928 §4 BIND: the second reply comes when the anticipated peer has connected. */
  #accepted(peer: Endpoint): void {
    this.#succeed(peer);
    this.#stage = "open";
    this.#deadline(undefined);
    this.#actions.push({ type: "relay", early: this.#inbox.drain() });
  }

  #ended(): void {
    // Everything may have come at once with the end of it behind: then the relay passes the half-close on. While a BIND
    // waits for its peer, a half-close is how a client looks that has given up.
    const halfway = this.#stage === "checking" || this.#stage === "opening";
    if (halfway && this.#request?.command !== "associate") return;
    this.#close("gone", "the client left during the handshake");
  }

  #late(): void {
    if (this.#stage === "opening")
      return this.#fail("host-unreachable", "the destination did not answer in time");
    if (this.#stage === "listening") return this.#fail("ttl-expired", "the peer did not come in time");
    this.#close("timeout", "the handshake took too long");
  }

  /** A complete message of the current kind, or `undefined` when there is none, or none will come. */
  #next<T>(decode: (bytes: Buffer) => Decoded<T>): T | undefined {
    const taken = this.#inbox.take(decode);
    if (!isFault(taken)) return taken;
    this.#faulty(taken);
    return undefined;
  }

  #faulty({ fault, at, why }: Fault): void {
    const cause: CloseCause = fault === "unsupported" ? "refused" : "protocol-error";
    if (this.#stage === "password") this.#send(encodePasswordStatus(false));
    if (this.#stage === "request4") this.#send(encodeReply4("rejected"));
    if (this.#stage === "request") {
      // RFC 1928 §6: X'07' command not supported, X'08' address type not supported. A name no resolver could take is
      // a host that cannot be reached.
      const reply =
        at === 1 ? "command-not-supported" : at === 3 ? "address-type-not-supported" : "host-unreachable";
      this.#send(encodeReply(at === 0 ? "general-failure" : reply));
    }
    this.#close(cause, why);
  }

  #succeed(bound: Endpoint): void {
    this.#send(this.#version === 4 ? encodeReply4("granted", bound) : encodeReply("succeeded", bound));
  }

  #fail(reply: Failure, why: string): void {
    // SOCKS4 has one failure for everything that is not about the user.
    this.#send(this.#version === 4 ? encodeReply4("rejected") : encodeReply(reply));
    this.#close("refused", why);
  }

  #send(bytes: Buffer): void {
    this.#actions.push({ type: "send", bytes });
  }

  #deadline(at: number | undefined): void {
    this.#deadlineAt = at ?? Infinity;
    this.#actions.push({ type: "deadline", at });
  }

  #close(cause: CloseCause, why: string): void {
    this.#stage = "closed";
    this.#inbox.drain();
    this.#deadline(undefined);
    this.#actions.push({ type: "close", cause, why });
  }

  #take(): Action[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }
}
