import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { Json, MaybePromise } from "../../../kernel/index.ts";
import type { Exchange, Refusal } from "../exchange.ts";
import { problem, refusalHeaders } from "../exchange.ts";
import type { Opened, Web } from "../server.ts";
import type { WebSession } from "../session.ts";
import { carry } from "./carrier.ts";
import { ResponseGate } from "./response-gate.ts";

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Puts a session where the framework's users look for it. */
export type Place = (request: NodeRequest, session: WebSession<Json>) => void;

export function attach<Data extends Json>(
  web: Web<Data>,
  request: NodeRequest,
  response: NodeResponse,
  place: Place = carry,
): MaybePromise<WebSession<Data> | undefined> {
  const opened = web.open(new NodeExchange(request, response));
  return opened instanceof Promise
    ? opened.then((late) => admit(late, request, response, place))
    : admit(opened, request, response, place);
}

function admit<Data extends Json>(
  { session, refusal }: Opened<Data>,
  request: NodeRequest,
  response: NodeResponse,
  place: Place,
): WebSession<Data> | undefined {
  if (refusal === undefined) {
    place(request, session);
    return session;
  }
  refuse(response, refusal);
  return undefined;
}

export function refuse(response: NodeResponse, refusal: Refusal): void {
  response.statusCode = refusal.status;
  for (const [name, value] of Object.entries(refusalHeaders(refusal))) response.setHeader(name, value);
  response.end(problem(refusal));
}

/** An exchange over Node's own request and response. */
export class NodeExchange implements Exchange {
  readonly #request: NodeRequest;
  readonly #response: NodeResponse;
  #gate: ResponseGate | undefined;

  constructor(request: NodeRequest, response: NodeResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method ?? "GET";
  }

  get address(): string | undefined {
    return this.#request.socket.remoteAddress;
  }

  get headSent(): boolean {
    return this.#response.headersSent;
  }

  header(name: Parameters<Exchange["header"]>[0]): string | undefined {
    const { headers } = this.#request;
    if (name === "host") return headers.host ?? authority(headers);
    const value = headers[name];
    return typeof value === "object" ? value.join(", ") : value;
  }

  setCookie(name: string, line: string): void {
    this.#gated().setCookie(name, line);
  }

  setHeader(name: string, value: string): void {
    if (!this.#response.hasHeader(name)) this.#response.setHeader(name, value);
  }

  holdFor(work: Promise<unknown>): void {
    this.#gated().hold(work);
  }

  #gated(): ResponseGate {
    return (this.#gate ??= new ResponseGate(this.#response));
  }
}

/** RFC 9113 §8.3.1: HTTP/2 has `:authority` in the place of Host. */
function authority(headers: object): string | undefined {
  const value: unknown = Reflect.get(headers, ":authority");
  return typeof value === "string" ? value : undefined;
}
