import type { Json, MaybePromise } from "../../../kernel/index.ts";
import type { Exchange, Refusal } from "../exchange.ts";
import { problem, refusalHeaders } from "../exchange.ts";
import type { Opened, Web } from "../server.ts";
import type { WebSession } from "../session.ts";
import { withCookie } from "./response-gate.ts";

/** A request's session in a fetch-style server. */
export interface FetchOpened<Data extends Json> {
  /** Undefined when the request carries no session: then `visitor` is the way to establish one. */
  readonly session: WebSession<Data> | undefined;
  /** The same session, or one that does not exist yet. */
  readonly visitor: WebSession<Data>;
  /** Set when the request must not reach the application; `commit` then answers with it, whatever it is given. */
  readonly refused: Response | undefined;
  /** Waits for what the session is writing, and puts its cookies on a copy of `response`. */
  readonly commit: (response: Response) => Promise<Response>;
}

export function openFetch<Data extends Json>(
  web: Web<Data>,
  request: Request,
  about: { readonly address?: string },
): MaybePromise<FetchOpened<Data>> {
  const exchange = new FetchExchange(request, about.address);
  const opened = web.open(exchange);
  return opened instanceof Promise ? opened.then((late) => face(late, exchange)) : face(opened, exchange);
}

function face<Data extends Json>(
  { session, refusal }: Opened<Data>,
  exchange: FetchExchange,
): FetchOpened<Data> {
  const refused = refusal === undefined ? undefined : exchange.put(refusalResponse(refusal));
  return {
    session: session.exists ? session : undefined,
    visitor: session,
    refused,
    commit: async (response) => refused ?? exchange.commit(response),
  };
}

export function refusalResponse(refusal: Refusal): Response {
  return new Response(problem(refusal), { status: refusal.status, headers: refusalHeaders(refusal) });
}

/** An exchange over a fetch Request; what it puts on the response waits for `commit`. */
export class FetchExchange implements Exchange {
  readonly #request: Request;
  readonly address: string | undefined;
  #cookies: string[] = [];
  readonly #headers = new Map<string, string>();
  #pending: Promise<unknown>[] = [];
  #committed = false;

  constructor(request: Request, address: string | undefined) {
    this.#request = request;
    this.address = address;
  }

  get method(): string {
    return this.#request.method;
  }

  get headSent(): boolean {
    return this.#committed;
  }

  header(name: Parameters<Exchange["header"]>[0]): string | undefined {
    return this.#request.headers.get(name) ?? (name === "host" ? new URL(this.#request.url).host : undefined);
  }

  setCookie(name: string, line: string): void {
    this.#cookies = withCookie(this.#cookies, name, line);
  }

  setHeader(name: string, value: string): void {
    this.#headers.set(name, value);
  }

  holdFor(work: Promise<unknown>): void {
    this.#pending.push(work);
  }

  async commit(response: Response): Promise<Response> {
    await Promise.allSettled(this.#pending);
    this.#committed = true;
    return this.put(response);
  }

  /** A copy of `response` with what the session sets on it; itself where that is nothing. */
  put(response: Response): Response {
    if (this.#cookies.length === 0 && this.#headers.size === 0) return response;
    const headers = new Headers(response.headers);
    for (const line of this.#cookies) headers.append("set-cookie", line);
    for (const [name, value] of this.#headers) if (!headers.has(name)) headers.set(name, value);
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  }
}
