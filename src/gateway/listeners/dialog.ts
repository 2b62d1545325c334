import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { HoldfastError } from "../../kernel/index.ts";
import type { Arrival, Dialog, Dialogs, Feed, LinkRequest, Welcome } from "../../mechanisms/dialog/index.ts";
import { createDialogs, passOn, preflighted, serveFeed, takeIn } from "../../mechanisms/dialog/index.ts";
import type { User } from "../../mechanisms/socks/index.ts";
import { listenOn } from "../../transport/listen.ts";
import type { Certificate } from "../certificate.ts";
import type { ListenerConfig, TlsConfig } from "../config.ts";
import { failureOf, stopServer } from "../http-server.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { addressOf, hostPort, isLoopback } from "../listener.ts";
import { configSpan } from "../span.ts";
import { dialogSchema } from "./dialog-schema.ts";
import { Who } from "./who.ts";

/**
 * Topics that people and programs write and read, each in a dialog that outlives its connections: over WebSocket and event
 * streams at /dialog, over TCP; and for whoever has but `curl` or an EventSource, at /topics/NAME.
 */
export const dialog: ListenerKind = {
  defaultPort: 7710,
  schema: dialogSchema,
  async listen(config, context): Promise<Listener> {
    // The schema has checked each of these.
    const written = config as ListenerConfig & DialogConfig;
    const host = written.host ?? "127.0.0.1";
    if (written.users === undefined && written.anonymous === undefined && !isLoopback(host))
      throw new HoldfastError(
        "invalid-argument",
        `A dialog listener on ${host} needs users, or to be told whether others may come: "anonymous: false" leaves web logins.`,
        { detail: { host } },
      );
    const { tls } = written;
    const name = written.name ?? "dialog";
    const room = new Room(written, context);
    const server = context.tls.httpServer(`listener ${name}`, tls, room.answer);
    room.dialogs.attach(server, "/dialog");
    try {
      await listenOn(server, { host, port: written.port ?? dialog.defaultPort });
      const certificate = tls === undefined ? undefined : context.tls.certificate(tls);
      const also = await listenTcp(room.dialogs, host, written["tcp-port"], certificate);
      return {
        name,
        mechanism: "dialog",
        address: addressOf(tls === undefined ? "http" : "https", server),
        also,
        open: () => room.dialogs.size + room.readers,
        async drain(deadlineAt): Promise<void> {
          const withinMs = Math.max(deadlineAt - context.kernel.clock.now(), 0);
          room.leave();
          await room.dialogs.drain({ withinMs });
          await stopServer(server, 0);
        },
        async close(): Promise<void> {
          await room.dialogs.close();
          await stopServer(server, 0);
        },
      };
    } catch (error) {
      await room.dialogs.close();
      await stopServer(server, 0);
      throw error;
    }
  },
};

interface DialogConfig {
  readonly users?: readonly User[];
  readonly anonymous?: boolean;
  readonly cookie?: string;
  readonly origins?: readonly string[];
  readonly topics: readonly TopicConfig[];
  readonly tls?: TlsConfig;
  readonly "tcp-port"?: number;
  readonly hold?: string;
  readonly ping?: string;
  readonly limits?: { readonly message?: number; readonly handshakes?: number; readonly readers?: number };
}

interface TopicConfig {
  readonly name: string;
  readonly keep?: number;
  readonly readers?: readonly string[];
  readonly writers?: readonly string[];
}

type Asking = Pick<LinkRequest, "authorization" | "http" | "certificate">;
type Right = "readers" | "writers";

/** What one listener serves. */
class Room {
  readonly dialogs: Dialogs;
  readers = 0;
  readonly #context: ListenerContext;
  readonly #who: Who;
  readonly #anonymous: boolean;
  readonly #topics: ReadonlyMap<string, { readonly feed: Feed; readonly config: TopicConfig }>;
  readonly #responses = new Set<ServerResponse>();
  readonly #most: number;
  readonly #messageBytes: number;
  readonly #origins: readonly string[];
  #leaving = false;

  constructor(config: DialogConfig, context: ListenerContext) {
    const { kernel, topics, limit, log } = context;
    this.#context = context;
    const { users = [], anonymous = users.length === 0, cookie, origins = [] } = config;
    const web = { bearer: true, ...(cookie !== undefined && { cookie }) };
    this.#who = new Who(kernel, { users, web, origins });
    this.#anonymous = anonymous;
    this.#most = config.limits?.readers ?? 10_000;
    this.#messageBytes = config.limits?.message ?? 1_048_576;
    this.#origins = origins;
    this.#topics = new Map(
      config.topics.map((topic) => [
        topic.name,
        { feed: topics.feed(topic.name, topic.keep), config: topic },
      ]),
    );
    const { streams } = topics;
    this.dialogs = createDialogs({
      kernel,
      ...(streams.kind !== "memory" && { log: streams }),
      authenticate: (request) => this.#welcome(request),
      holdMs: configSpan(config.hold, 120_000),
      pingMs: configSpan(config.ping, 15_000),
      maxMessageBytes: this.#messageBytes,
      origins: this.#origins,
      ...(config.limits?.handshakes !== undefined && { pendingLinks: config.limits.handshakes }),
      ...(limit !== undefined && { limit }),
      onFault: (error) => log.warn({ err: error }, "a fault in the background"),
    });
    this.dialogs.on("open", (opened, arrival) => this.#talk(opened, arrival));
  }

  /** Plain event streams end; their readers come again, where the balancer leads them. */
  leave(): void {
    this.#leaving = true;
    for (const response of this.#responses) response.end();
  }

  readonly answer: RequestListener = (request, response) => {
    if (preflighted(request, response, this.#origins)) return;
    this.#serve(request, response).catch((error: unknown) => {
      this.#context.log.error({ err: error }, "a request failed");
      const { status, code } = failureOf(error);
      if (response.headersSent) response.destroy();
      else send(response, status, { code });
    });
  };

  /** `undefined` when it is nobody who may come. */
  async #welcome({ authorization, http, certificate }: Asking): Promise<Welcome | undefined> {
    if (http !== undefined && this.#who.isForeign(http)) return undefined;
    if (certificate !== undefined) return { principal: certificate };
    const known = await this.#who.of(authorization, http);
    return known ?? (authorization === "" && this.#anonymous ? {} : undefined);
  }

  /** The label names the topic; `data` of OPEN, as text, where to begin: a number, `oldest`, or `newest`. */
  async #talk(opened: Dialog, arrival: Arrival): Promise<void> {
    const { label = "", mode, principal, data } = arrival;
    const topic = this.#topics.get(label);
    if (topic === undefined)
      return opened.abort(`there is no topic ${label || "without a name"}: the label names it`);
    const reads = mode !== "simplex-up";
    const writes = mode !== "simplex-down";
    if (reads && !may(topic.config, "readers", principal))
      return opened.abort("this topic is not for you to read");
    if (writes && !may(topic.config, "writers", principal))
      return opened.abort("this topic is not for you to write");
    // What was begun elsewhere, and has told nothing yet, must not lose anything either.
    const from = data === undefined ? "oldest" : startOf(Buffer.from(data).toString());
    if (from === undefined) return opened.abort("the beginning is a number, oldest or newest");
    if (mode === "half-duplex") opened.on("wanted", () => void opened.giveTurn().catch(() => undefined));
    await Promise.all([
      ...(reads ? [passOn(topic.feed, opened, arrival, from)] : []),
      ...(writes ? [takeIn(topic.feed, opened)] : []),
    ]);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const name = /^\/topics\/([\w.-]+)$/.exec(path)?.[1];
    if (name === undefined && path !== "/topics") return send(response, 404, { code: "not-found" });
    const authorization = request.headers.authorization ?? "";
    const welcome = await this.#welcome({ authorization, http: request });
    if (welcome === undefined) {
      response.setHeader("www-authenticate", 'Basic realm="holdfast", charset="UTF-8"');
      return send(response, 401, { code: "unauthorized" });
    }
    if (name === undefined) {
      const readable = [...this.#topics.values()].filter(({ config }) =>
        may(config, "readers", welcome.principal),
      );
      return send(response, 200, { topics: readable.map(({ config }) => config.name) });
    }
    const topic = this.#topics.get(name);
    if (topic === undefined) return send(response, 404, { code: "not-found" });
    const right: Right = request.method === "POST" ? "writers" : "readers";
    if (!may(topic.config, right, welcome.principal)) return send(response, 403, { code: "forbidden" });
    if (request.method === "POST") return this.#publish(topic.feed, request, response);
    if (request.method !== "GET") return send(response, 405, { code: "method-not-allowed" });
    await this.#read(topic.feed, welcome, request, response);
  }

  async #read(
    feed: Feed,
    welcome: Welcome,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    if (this.#leaving || this.readers >= this.#most) {
      response.setHeader("retry-after", "5");
      return send(response, 503, { code: "busy" });
    }
    const { kernel, log } = this.#context;
    this.readers++;
    this.#responses.add(response);
    response.on("close", () => {
      this.readers--;
      this.#responses.delete(response);
    });
    const onFault = (error: unknown): void => log.warn({ err: error }, "a reader was cut off");
    await serveFeed(request, response, { kernel, feed, welcome, onFault });
  }

  async #publish(feed: Feed, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > this.#messageBytes) {
        response.setHeader("connection", "close");
        return send(response, 413, { code: "too-large" });
      }
      chunks.push(chunk);
    }
    const body = Buffer.concat(chunks);
    const binary = request.headers["content-type"] === "application/octet-stream";
    send(response, 200, { n: await feed.publish(binary ? body : body.toString()) });
  }
}

async function listenTcp(
  dialogs: Dialogs,
  host: string,
  port: number | undefined,
  certificate: Certificate | undefined,
): Promise<string[]> {
  if (port === undefined) return [];
  const at = await dialogs.listen({
    host,
    port,
    ...(certificate !== undefined && { tls: certificate.options }),
  });
  certificate?.onChange((pair) => at.renew(pair));
  return [`${certificate === undefined ? "tcp" : "tls"}://${hostPort(at)}`];
}

function may(topic: TopicConfig, right: Right, principal: string | undefined): boolean {
  const allowed = topic[right] ?? ["*"];
  return allowed.includes("*") || (principal !== undefined && allowed.includes(principal));
}

function startOf(text: string): number | "oldest" | "newest" | undefined {
  if (text === "" || text === "newest") return "newest";
  if (text === "oldest") return text;
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(JSON.stringify(body));
}
