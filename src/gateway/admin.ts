import type { IncomingMessage, ServerResponse } from "node:http";

import type { Console, ConsoleCounts, ConsoleParts, ConsoleTokens } from "../console/index.ts";
import { createConsole } from "../console/index.ts";
import type { Certificates } from "./certificates.ts";
import { ADMIN_PORT, LOOPBACK } from "./config/index.ts";
import type { AdminConfig } from "./config/index.ts";
import { CONTENT_TYPE } from "./exposition.ts";
import { HttpServer } from "./http-server.ts";
import type { Metrics } from "./metrics.ts";

export interface AdminParts extends Omit<ConsoleParts, "origin" | "secure"> {
  readonly metrics: Metrics;
  readonly certificates: Certificates | undefined;
  /** Why this process should get no new work; `undefined` when it should. */
  readonly notReady: () => string | undefined;
}

/** One server for what operators and their tools ask: health, metrics, the admin API and the console's page. */
export class AdminServer {
  readonly #parts: AdminParts;
  #server: HttpServer | undefined;
  #console: (Console & ConsoleTokens & ConsoleCounts) | undefined;

  private constructor(parts: AdminParts) {
    this.#parts = parts;
  }

  static async listen(config: AdminConfig, parts: AdminParts): Promise<AdminServer> {
    const made = new AdminServer(parts);
    const server = await HttpServer.listen({
      host: config.host ?? LOOPBACK,
      port: config.port ?? ADMIN_PORT,
      certificates: parts.certificates,
      handle: (request, response) => made.#handle(request, response),
      answered: (method, status, seconds) => parts.metrics.answered("admin", method, status, seconds),
      onFault: (error) => parts.log.error({ err: error }, "an admin request failed"),
    });
    made.#server = server;
    const origin = config.origin ?? server.origin;
    made.#console = createConsole({ ...parts, origin, secure: origin.startsWith("https:") });
    return made;
  }

  /** Where it listens, for programs on this machine. */
  get address(): string {
    return this.#server?.origin ?? "";
  }

  signInLink(): Promise<string> {
    return this.#running.signInLink();
  }

  token(name: string): Promise<string> {
    return this.#running.token("operator", name);
  }

  async close(): Promise<void> {
    await this.#console?.close();
    await this.#server?.drain(GRACE_MS);
  }

  get #running(): Console & ConsoleTokens {
    if (this.#console === undefined) throw new Error("the admin server is not listening yet");
    return this.#console;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?", 1)[0];
    if (path === "/healthz") return plain(response, 200, "ok\n");
    if (path === "/readyz") {
      const why = this.#parts.notReady();
      return plain(response, why === undefined ? 200 : 503, why === undefined ? "ready\n" : `${why}\n`);
    }
    if (this.#console === undefined) return plain(response, 503, "starting\n");
    if (path === "/metrics") {
      const sessions = await this.#console.sessionCounts();
      response.setHeader("content-type", CONTENT_TYPE);
      return plain(response, 200, await this.#parts.metrics.render(sessions));
    }
    await this.#console.handle(request, response);
  }
}

function plain(response: ServerResponse, status: number, text: string): void {
  if (!response.hasHeader("content-type")) response.setHeader("content-type", "text/plain; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.writeHead(status, { "content-length": Buffer.byteLength(text) }).end(text);
}

/** Requests of operators are short; open feeds were ended before. */
const GRACE_MS = 1_000;
