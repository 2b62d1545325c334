import type { Fault } from "../../wire/index.ts";
import { Inbox, isFault } from "../../wire/index.ts";
import type { Command, Endpoint, Failure, Reply } from "./codec.ts";
import {
  decodeChoice,
  decodePasswordStatus,
  decodeReply,
  decodeReply4,
  encodeGreeting,
  encodePassword,
  encodeRequest,
  encodeRequest4,
  FAILURES,
  METHOD,
  REPLY,
  REPLY4,
} from "./codec.ts";
import { decodeConnectResponse, encodeConnectRequest } from "./http-connect.ts";

/** How to speak to the proxy. `socks4` passes names on too (SOCKS4a). `http` is HTTP's CONNECT, which cannot BIND. */
export type ProxyProtocol = "socks5" | "socks4" | "http";

export interface ClientRequest {
  readonly protocol: ProxyProtocol;
  readonly command: Command;
  readonly destination: Endpoint;
  readonly username?: string;
  /** With `socks4` only the user name is sent, as the user ID. */
  readonly password?: string;
}

export type Step =
  | { readonly type: "send"; readonly bytes: Buffer }
  /** The first, or only, reply. */
  | { readonly type: "granted"; readonly bound: Endpoint }
  /** BIND's second reply. */
  | { readonly type: "accepted"; readonly peer: Endpoint }
  | { readonly type: "failed"; readonly failure: ProxyFailure };

/** Why a proxy did not do as asked, and who is at fault. */
export interface ProxyFailure {
  readonly code:
    | "proxy-protocol"
    | "proxy-authentication"
    | "proxy-refused"
    | "request-not-expressible"
    | "proxy-closed";
  /** The proxy's own reason, where its protocol has one. */
  readonly reply?: Failure;
  readonly why: string;
}

type Stage =
  | "choice"
  | "status"
  | "reply"
  | "second-reply"
  | "reply4"
  | "second-reply4"
  | "response"
  | "done";

/** The client's side of a handshake with a proxy. What comes behind it stays for `rest()`. */
export class ClientMachine {
  readonly #request: ClientRequest;
  readonly #inbox = new Inbox();
  #stage: Stage = "done";
  #steps: Step[] = [];

  constructor(request: ClientRequest) {
    this.#request = request;
  }

  start(): Step[] {
    const { protocol, command, destination, username, password } = this.#request;
    switch (protocol) {
      case "socks5": {
        // RFC 1929 is offered only with something to say in it: some proxies would insist on it.
        const methods = username === undefined ? [METHOD.none] : [METHOD.none, METHOD.password];
        this.#stage = "choice";
        this.#send(encodeGreeting(methods));
        break;
      }
      case "socks4": {
        this.#stage = "reply4";
        this.#send(
          command === "associate" ? undefined : encodeRequest4(command, destination, username ?? ""),
        );
        break;
      }
      case "http": {
        this.#stage = "response";
        const who = username === undefined ? undefined : { username, password: password ?? "" };
        this.#send(command === "connect" ? encodeConnectRequest(destination, who) : undefined);
        break;
      }
    }
    return this.#take();
  }

  handle(bytes: Buffer): Step[] {
    this.#inbox.append(bytes);
    let before: Stage;
    do {
      before = this.#stage;
      this.#read();
    } while (this.#stage !== before && this.#inbox.size > 0);
    return this.#take();
  }

  /** The proxy has closed the connection. */
  ended(): Step[] {
    if (this.#stage !== "done") {
      this.#fail({ code: "proxy-closed", why: "the proxy closed the connection during the handshake" });
    }
    return this.#take();
  }

  /** What the destination has sent already. Only after the last reply. */
  rest(): Buffer {
    return this.#inbox.drain();
  }

  #read(): void {
    switch (this.#stage) {
      case "choice": {
        const method = this.#good(this.#inbox.take(decodeChoice));
        if (method !== undefined) this.#chosen(method);
        break;
      }
      case "status": {
        const good = this.#good(this.#inbox.take(decodePasswordStatus));
        if (good === true) this.#ask();
        if (good === false)
          this.#fail({
            code: "proxy-authentication",
            why: "the proxy does not accept this user name and password",
          });
        break;
      }
      case "reply":
      case "second-reply": {
        const reply = this.#good(this.#inbox.take(decodeReply));
        if (reply !== undefined) this.#replied(reply, reply.reply === REPLY.succeeded);
        break;
      }
      case "reply4":
      case "second-reply4": {
        const reply = this.#good(this.#inbox.take(decodeReply4));
        if (reply !== undefined) this.#replied4(reply);
        break;
      }
      case "response": {
        const response = this.#good(this.#inbox.take(decodeConnectResponse));
        if (response !== undefined) this.#responded(response.status, response.reason);
        break;
      }
      case "done":
        break;
    }
  }

  #chosen(method: number): void {
    const { username, password } = this.#request;
    if (method === METHOD.none) return this.#ask();
    if (method !== METHOD.password || username === undefined) {
      const why =
        method === METHOD.unacceptable
          ? "the proxy accepts none of the ways to authenticate that were offered"
          : `the proxy chose method ${method}, which was not offered`;
      return this.#fail({ code: "proxy-authentication", why });
    }
    this.#stage = "status";
    this.#send(encodePassword({ username, password: password ?? "" }));
  }

  #ask(): void {
    this.#stage = "reply";
    this.#send(encodeRequest(this.#request.command, this.#request.destination));
  }

  #replied4(reply: Reply): void {
    if (reply.reply === REPLY4["user-id-mismatch"] || reply.reply === REPLY4["no-identd"]) {
      return this.#fail({
        code: "proxy-authentication",
        why: `the proxy does not accept the user ID (${reply.reply})`,
      });
    }
    this.#replied(reply, reply.reply === REPLY4.granted);
  }

  #replied({ reply, bound }: Reply, good: boolean): void {
    if (!good) {
      const name = failureOf(reply, this.#stage);
      const why = `the proxy refused: ${name?.replaceAll("-", " ") ?? `code ${reply}`}`;
      return this.#fail({ code: "proxy-refused", why, ...(name !== undefined && { reply: name }) });
    }
    const second = this.#stage === "second-reply" || this.#stage === "second-reply4";
    if (second) this.#steps.push({ type: "accepted", peer: bound });
    else this.#steps.push({ type: "granted", bound });
    if (second || this.#request.command !== "bind") this.#stage = "done";
    else this.#stage = this.#stage === "reply4" ? "second-reply4" : "second-reply";
  }

  #responded(status: number, reason: string): void {
    if (status >= 200 && status < 300) {
      this.#stage = "done";
      this.#steps.push({ type: "granted", bound: { host: "", port: 0 } });
      return;
    }
    const why = `the proxy answered ${status} ${reason}`.trimEnd();
    this.#fail({ code: status === 407 ? "proxy-authentication" : "proxy-refused", why });
  }

  #good<T>(taken: T | Fault | undefined): T | undefined {
    if (!isFault(taken)) return taken;
    this.#fail({ code: "proxy-protocol", why: taken.why });
    return undefined;
  }

  #send(bytes: Buffer | undefined): void {
    if (bytes !== undefined) this.#steps.push({ type: "send", bytes });
    else {
      const { protocol, command } = this.#request;
      const why = `${protocol} cannot say this ${command}: look at the length of its names, its address family and its port`;
      this.#fail({ code: "request-not-expressible", why });
    }
  }

  #fail(failure: ProxyFailure): void {
    this.#stage = "done";
    this.#steps.push({ type: "failed", failure });
  }

  #take(): Step[] {
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }
}

function failureOf(code: number, stage: Stage): Failure | undefined {
  return stage === "reply4" || stage === "second-reply4" ? "general-failure" : FAILURES[code];
}
