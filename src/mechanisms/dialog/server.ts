import type { IncomingMessage, Server as HttpServer, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { createServer } from "node:net";
import type { Duplex } from "node:stream";
import type { TlsOptions } from "node:tls";
import { createServer as createTlsServer, TLSSocket } from "node:tls";
import { WebSocketServer } from "ws";
import { listenOn } from "../../transport/listen.ts";
import type { CarriedDialog, LastSent } from "./carried.ts";
import type { Link } from "./client.ts";
import type { Dialog } from "./dialog.ts";
import { BOUND_MESSAGE_BYTES } from "./numbers.ts";
import type { Around } from "./greeting.ts";
import { Greeting } from "./greeting.ts";
import type { Heard } from "./http-links.ts";
import { HttpLinks } from "./http-links.ts";
import { socketLink, webSocketLink } from "./links.ts";
import type { DialogsOptions, LinkRequest, Settings } from "./options.ts";
import type { DialogMode } from "./connect-options.ts";
import { dialogMode, settle } from "./options.ts";
import { sweepOrphans } from "./sweep.ts";

export interface DialogListenOptions {
  /** 127.0.0.1 unless given. */
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** With it, TLS; ALPN `holdfast.v1`. */
  readonly tls?: TlsOptions;
}

export interface Listening {
  readonly host: string;
  readonly port: number;
  /** Another certificate, for links from now on. */
  renew(tls: TlsOptions): void;
}

/** How a dialog comes to the application: anew, or with all that was left of it on another node. */
export interface Arrival {
  readonly rehydrated: boolean;
  readonly mode: DialogMode;
  readonly principal?: string;
  readonly label?: string;
  /** What came with OPEN, for dialogs that begin here. */
  readonly data?: Uint8Array;
  /**
   * The newest content that this side has sent, acknowledged or not, as the log has it: where to go on in whatever is being
   * passed on, after another process had the dialog. Absent when there was none, or no log.
   */
  lastSent(): Promise<LastSent | undefined>;
}

/** @throws HoldfastError `invalid-argument` for an option that makes no sense, naming it. */
export function createDialogs(options: DialogsOptions): Dialogs {
  return new Dialogs(settle(options));
}

/** Dialogs of this node, over any binding. */
export class Dialogs implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #around: Around;
  readonly #carried = new Map<string, CarriedDialog>();
  /** Those that are over, whose end is being written. */
  readonly #leaving = new Set<CarriedDialog>();
  readonly #listeners = new Set<(dialog: Dialog, arrival: Arrival) => unknown>();
  readonly #links = new Map<Link, Greeting>();
  readonly #servers = new Set<{ close(): unknown }>();
  readonly #stopListening: () => void;
  readonly #http: HttpLinks;
  readonly #sweeper: NodeJS.Timeout | undefined;
  #pending = 0;
  #closing = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#around = {
      settings,
      carried: (handle) => this.#carried.get(handle),
      arrived: (carried, rehydrated, data) => this.#arrived(carried, rehydrated, data),
      gone: (carried) => {
        if (this.#carried.get(carried.handle) === carried) this.#carried.delete(carried.handle);
        this.#leaving.add(carried);
        // What it still has to write is under way by then.
        queueMicrotask(() => void carried.settled().then(() => this.#leaving.delete(carried)));
      },
    };
    const { log, outboxBytes, outboxMessages, holdMs, origins } = settings;
    this.#http = new HttpLinks({
      admits: () => this.#admits(),
      welcome: (binding, http, make) => {
        const about = { binding, address: http.socket.remoteAddress ?? "", http };
        this.#welcome(make, about, http.headers.authorization ?? "");
      },
      // Without a log, what is unacknowledged fills the outbox; that must not be full before the reader is asked back.
      plainWindow: {
        messages: Math.min(65_536, log === undefined ? outboxMessages >> 1 : Infinity),
        bytes: Math.min(2_097_152, log === undefined ? outboxBytes >> 1 : Infinity),
      },
      holdMs,
      origins,
    });
    if (log !== undefined) {
      const sweep = (): void =>
        void sweepOrphans(settings.kernel, log)
          .catch(settings.onFault)
          .then(() => (this.#closing ? undefined : this.#sweeper?.refresh()));
      this.#sweeper = setTimeout(sweep, settings.sweepMs);
      this.#sweeper.unref();
    }
    this.#stopListening = settings.kernel.onEntry(({ event, handle, detail }) => {
      if (event !== "end" || handle === undefined) return;
      const said = detail?.["reason"];
      const reason = typeof said === "string" ? said : "";
      const carried = this.#carried.get(handle);
      if (reason === "finished") return carried?.close({ reason: "finished", why: "" });
      const expired = reason.endsWith("expired") || reason === "timeout";
      carried?.end("revoked", { reason: expired ? "expired" : "revoked", why: `it was ended: ${reason}` });
    });
  }

  /** Dialogs this node owns, with a link or without. */
  get size(): number {
    return this.#carried.size;
  }

  /** Calls `listener` with each dialog that begins here or comes from another node. */
  on(_event: "open", listener: (dialog: Dialog, arrival: Arrival) => unknown): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A request of the event-stream bindings: for servers that route requests themselves. `attach` does it for its path. */
  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#http.handle(request, response);
  }

  /**
   * WebSocket and event streams on `path` of a server that goes on serving everything else. What listens to its requests
   * already does not hear of those any more.
   */
  attach(server: HttpServer, path: string): void {
    const webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: BOUND_MESSAGE_BYTES + 65_536,
      handleProtocols: (offered) => (offered.has("holdfast.v1") ? "holdfast.v1" : false),
    });
    const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
      if (pathOf(request) !== path) return;
      if (!String(request.headers["sec-websocket-protocol"]).split(/ *, */).includes("holdfast.v1"))
        return void socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
      if (!this.#admits())
        return void socket.end("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n");
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        const about = {
          binding: "websocket",
          address: request.socket.remoteAddress ?? "",
          http: request,
        } as const;
        this.#welcome((heard) => webSocketLink(webSocket, heard), about, request.headers.authorization ?? "");
      });
    };
    server.on("upgrade", upgrade);
    const others = server.listeners("request");
    server.removeAllListeners("request");
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      if (pathOf(request) === path) this.handle(request, response);
      else for (const listener of others) Reflect.apply(listener, server, [request, response]);
    };
    server.on("request", serve);
    this.#servers.add({ close: () => server.removeListener("upgrade", upgrade) });
  }

  /** Length-prefixed TCP or TLS. Rejects with the system's error when it cannot listen. */
  async listen({ host = "127.0.0.1", port = 0, tls }: DialogListenOptions = {}): Promise<Listening> {
    const accept = (socket: Socket): void => {
      if (!this.#admits()) return void socket.destroy();
      socket.setNoDelay(true);
      const secure = socket instanceof TLSSocket ? socket : undefined;
      const subject = secure?.authorized === true ? secure.getPeerCertificate().subject?.CN : undefined;
      const certificate = typeof subject === "string" ? { certificate: subject } : {};
      const about = {
        binding: tls === undefined ? "tcp" : "tls",
        address: socket.remoteAddress ?? "",
        ...certificate,
      } as const;
      this.#welcome((heard) => socketLink(socket, heard), about, "");
    };
    const secure =
      tls === undefined ? undefined : createTlsServer({ ...tls, ALPNProtocols: ["holdfast.v1"] }, accept);
    const server = secure ?? createServer({ noDelay: true }, accept);
    const at = await listenOn(server, { host, port });
    server.on("error", this.#settings.onFault);
    this.#servers.add(server);
    return {
      host,
      port: at.port,
      renew: (options) => secure?.setSecureContext(options),
    };
  }

  /** Takes no more links, and asks every client to go elsewhere; resolves when all have, or the time is over. */
  async drain(options: { url?: string; withinMs?: number } = {}): Promise<void> {
    const { url = "", withinMs = 5000 } = options;
    this.#closing = true;
    for (const carried of this.#carried.values()) carried.migrate(url, withinMs);
    const until = Date.now() + withinMs;
    while (Date.now() < until && [...this.#carried.values()].some((carried) => carried.linked))
      await new Promise((resolve) => setTimeout(resolve, 10));
    await this.close();
  }

  /** Cuts every link. The dialogs stay suspended, for this node or another. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopListening();
    clearTimeout(this.#sweeper);
    for (const server of this.#servers) server.close();
    this.#servers.clear();
    const carried = [...this.#carried.values()];
    for (const [link, greeting] of this.#links) {
      greeting.closed();
      link.close();
    }
    await Promise.all([...carried, ...this.#leaving].map((one) => one.settled()));
    for (const one of carried) one.close({ reason: "moved", why: "this node has stopped" });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #arrived(carried: CarriedDialog, rehydrated: boolean, data?: Uint8Array): void {
    this.#carried.get(carried.handle)?.close({ reason: "moved", why: "it has come back by another way" });
    this.#carried.set(carried.handle, carried);
    const { principal, label } = carried.record;
    const arrival = {
      rehydrated,
      lastSent: () => carried.lastSent(),
      mode: dialogMode(carried.machine.agreement.units),
      ...(data !== undefined && { data }),
      ...(principal !== undefined && { principal }),
      ...(label !== undefined && { label }),
    };
    for (const listener of this.#listeners) {
      const outcome = listener(carried.dialog, arrival);
      if (outcome instanceof Promise) outcome.catch(this.#settings.onFault);
    }
  }

  #admits(): boolean {
    return !this.#closing && this.#pending < this.#settings.pendingLinks;
  }

  #welcome(make: (heard: Heard) => Link, about: Omit<LinkRequest, "authorization">, header: string): void {
    this.#pending++;
    let waiting = true;
    const settled = (): void => {
      if (!waiting) return;
      waiting = false;
      this.#pending--;
      clearTimeout(timer);
    };
    const link = make({
      message: (bytes) => {
        greeting.message(bytes);
        if (greeting.carried !== undefined) settled();
      },
      drained: () => greeting.carried?.drained(),
      closed: () => {
        settled();
        this.#links.delete(link);
        greeting.closed();
      },
    });
    const greeting = new Greeting(this.#around, link, about, header);
    const timer = setTimeout(() => {
      if (greeting.carried === undefined) link.close();
    }, this.#settings.handshakeMs);
    timer.unref();
    this.#links.set(link, greeting);
  }
}

function pathOf(request: IncomingMessage): string {
  const target = request.url ?? "/";
  return target.split("?", 1)[0] ?? target;
}
