import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { Server as SecureServer } from "node:https";
import { isIPv6 } from "node:net";

import type { Certificates } from "./certificates.ts";

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly certificates: Certificates | undefined;
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
  /** Hears of every answer. */
  readonly answered: (method: string, status: number, seconds: number) => void;
  readonly onFault: (error: unknown) => void;
}

/** An HTTP server that can be drained: what is under way finishes, what is new is refused. */
export class HttpServer {
  readonly #server: Server | SecureServer;
  readonly #options: HttpServerOptions;
  #open = 0;
  #draining = false;
  #emptied: () => void = () => {};
  #origin = "";

  private constructor(options: HttpServerOptions) {
    this.#options = options;
    const bounds = {
      maxHeaderSize: 32 * 1024,
      headersTimeout: 15_000,
      requestTimeout: 60_000,
      keepAliveTimeout: 10_000,
    };
    const listener = (request: IncomingMessage, response: ServerResponse): void =>
      this.#take(request, response);
    const { certificates } = options;
    if (certificates === undefined) this.#server = createServer(bounds, listener);
    else {
      const server = createSecureServer({ ...bounds, ...certificates.options }, listener);
      certificates.serve(server);
      this.#server = server;
    }
  }

  /** Rejects with the system's error when it cannot listen. */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const made = new HttpServer(options);
    await new Promise<void>((resolve, reject) => {
      made.#server.once("error", reject);
      made.#server.listen({ host: options.host, port: options.port }, () => {
        made.#server.off("error", reject);
        resolve();
      });
    });
    made.#server.on("error", options.onFault);
    made.#server.on("clientError", (_error, socket) => {
      if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
      else socket.destroy();
    });
    const at = made.#server.address();
    const port = typeof at === "object" && at !== null ? at.port : options.port;
    const host = isIPv6(options.host) ? `[${options.host}]` : options.host;
    made.#origin = `${options.certificates === undefined ? "http" : "https"}://${host}:${port}`;
    return made;
  }

  /** `http://127.0.0.1:7070`. */
  get origin(): string {
    return this.#origin;
  }

  /** Requests under way. */
  get open(): number {
    return this.#open;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Takes no more connections, lets requests finish for `ms`, then cuts what is left. */
  async drain(ms: number): Promise<void> {
    this.#stop();
    if (this.#open > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#emptied = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.close();
  }

  close(): void {
    this.#stop();
    this.#server.closeAllConnections();
  }

  #stop(): void {
    if (!this.#draining) this.#server.close();
    this.#draining = true;
    this.#server.closeIdleConnections();
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const startedAt = performance.now();
    this.#open++;
    if (this.#draining) response.setHeader("connection", "close");
    response.once("close", () => {
      this.#open--;
      const seconds = (performance.now() - startedAt) / 1000;
      this.#options.answered(request.method ?? "", response.statusCode, seconds);
      if (!this.#draining) return;
      this.#server.closeIdleConnections();
      if (this.#open === 0) this.#emptied();
    });
    void this.#handle(request, response);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#options.handle(request, response);
    } catch (error) {
      this.#options.onFault(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500, { "cache-control": "no-store" }).end();
    }
  }
}
