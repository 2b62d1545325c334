import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Console } from "../console/index.ts";
import { HoldfastError } from "../kernel/index.ts";
import { listenOn } from "../transport/listen.ts";
import type { AdminConfig } from "./config.ts";
import { stopServer } from "./http-server.ts";
import { addressOf, isLoopback } from "./listener.ts";
import type { TlsRoom } from "./tls.ts";

const ADMIN_PORT = 7070;

export interface AdminParts {
  readonly config: AdminConfig;
  readonly tls: TlsRoom;
  readonly ready: () => string | undefined;
  readonly metrics: () => Promise<string>;
}

/** The admin port: health, metrics, and everything else the console's. It listens before the console exists. */
export class AdminServer {
  readonly #parts: AdminParts;
  readonly #server: Server;
  console: Console | undefined;

  constructor(parts: AdminParts) {
    this.#parts = parts;
    assertSafe(parts.config);
    this.#server = parts.tls.httpServer("admin", parts.config.tls, (request, response) => {
      void this.#answer(request, response);
    });
  }

  async listen(): Promise<void> {
    const { host = "127.0.0.1", port = ADMIN_PORT } = this.#parts.config;
    await listenOn(this.#server, { host, port });
  }

  /** Where a browser on this machine reaches it. */
  get origin(): string {
    const own = addressOf(this.#parts.config.tls === undefined ? "http" : "https", this.#server);
    return (
      this.#parts.config.origin ?? own.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    );
  }

  close(): Promise<void> {
    return stopServer(this.#server, 1_000);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path === "/healthz") return plain(response, 200, "alive\n");
    if (path === "/readyz") {
      const why = this.#parts.ready();
      return plain(response, why === undefined ? 200 : 503, why === undefined ? "ready\n" : `${why}\n`);
    }
    if (path === "/metrics") {
      try {
        return plain(response, 200, await this.#parts.metrics(), "text/plain; version=0.0.4; charset=utf-8");
      } catch (error) {
        return plain(response, 503, `${String(error)}\n`);
      }
    }
    if (this.console === undefined) return plain(response, 503, "starting\n");
    await this.console.handle(request, response);
  }
}

/** Whoever reaches the admin port without TLS may be read and written to by everybody between. */
function assertSafe({ host = "127.0.0.1", tls, exposed }: AdminConfig): void {
  if (isLoopback(host) || tls !== undefined || exposed === true) return;
  throw new HoldfastError(
    "invalid-argument",
    `admin.host is ${host}, which others can reach: give admin.tls a certificate, or say admin.exposed: true if a proxy with TLS stands in front.`,
  );
}

function plain(
  response: ServerResponse,
  status: number,
  text: string,
  type = "text/plain; charset=utf-8",
): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(text);
}
