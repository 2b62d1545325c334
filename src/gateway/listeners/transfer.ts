import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { join } from "node:path";
import { HoldfastError } from "../../kernel/index.ts";
import type {
  FinishedFile,
  TransferPolicy,
  Transfers,
  TransferStorage,
} from "../../mechanisms/transfer/index.ts";
import { createTransfers, openDiskStorage } from "../../mechanisms/transfer/index.ts";
import { listenOn } from "../../transport/listen.ts";
import { Certificate } from "../certificate.ts";
import type { ListenerConfig, TlsConfig } from "../config.ts";
import { failureOf, stopServer } from "../http-server.ts";
import type { Listener, ListenerContext, ListenerKind } from "../listener.ts";
import { addressOf, isLoopback } from "../listener.ts";
import { configLimits } from "../span.ts";
import type { AccessConfig } from "./transfer-access.ts";
import { TransferAccess } from "./transfer-access.ts";
import { deliver } from "./transfer-delivery.ts";
import { transferSchema } from "./transfer-schema.ts";

/** Uploads that never start over, over tus and the IETF's protocol, and ranged downloads of what was uploaded. */
export const transfer: ListenerKind = {
  defaultPort: 7090,
  schema: transferSchema,
  async listen(config, context): Promise<Listener> {
    // The schema has checked each of these.
    const written = config as ListenerConfig & TransferConfig;
    const host = written.host ?? "127.0.0.1";
    assertSaid(written, host);
    const certificate = written.tls === undefined ? undefined : new Certificate(written.tls, context.log);
    let running: TransferListener | undefined;
    try {
      const store = await openDiskStorage(written.folder ?? join(context.data, "uploads"));
      running = new TransferListener(written, { store, certificate }, context);
      await listenOn(running.server, { host, port: written.port ?? transfer.defaultPort });
      return running;
    } catch (error) {
      await running?.close();
      certificate?.close();
      throw error;
    }
  },
};

interface TransferConfig extends AccessConfig {
  readonly tls?: TlsConfig;
  readonly folder?: string;
  readonly deliver?: string;
  readonly path?: string;
  readonly "public-origin"?: string;
  readonly downloads?: boolean;
  readonly interim?: boolean;
  readonly limits?: { readonly [name in keyof typeof LIMITS]?: string | number };
}

class TransferListener implements Listener {
  readonly name: string;
  readonly mechanism = "transfer";
  readonly server: Server;
  readonly #path: string;
  readonly #store: TransferStorage;
  readonly #transfers: Transfers;
  readonly #access: TransferAccess;
  readonly #certificate: Certificate | undefined;
  readonly #context: ListenerContext;
  #open = 0;

  constructor(
    written: ListenerConfig & TransferConfig,
    { store, certificate }: { store: TransferStorage; certificate: Certificate | undefined },
    context: ListenerContext,
  ) {
    const onFault = (error: unknown): void => context.log.warn({ err: error }, "a fault in the background");
    this.name = written.name ?? "transfer";
    this.#path = written.path ?? "/files";
    this.#store = store;
    this.#context = context;
    this.#access = new TransferAccess(written, context.kernel);
    this.#transfers = createTransfers({
      store,
      kernel: context.kernel,
      policy: policyOf(written),
      authorize: this.#access.authorize,
      onFinish: (file) => this.#finished(file, written.deliver),
      onFault,
    });
    // Requests take as long as they move; what stands still is ended by limits.idle.
    const options = { requestTimeout: 0, keepAliveTimeout: 30_000 };
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      this.#serve(request, response);
    this.#certificate = certificate;
    if (certificate === undefined) this.server = createServer(options, serve);
    else {
      const secure = createSecureServer({ ...options, ...certificate.options }, serve);
      certificate.onChange((pair) => secure.setSecureContext(pair));
      this.server = secure;
    }
  }

  get address(): string {
    return `${addressOf(this.#certificate === undefined ? "http" : "https", this.server)}${this.#path}`;
  }

  open(): number {
    return this.#open;
  }

  /** Requests under way may go on until the deadline; whatever is left can be gone on with elsewhere. */
  async drain(deadlineAt: number): Promise<void> {
    const { clock } = this.#context.kernel;
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = clock.after(Math.max(0, deadlineAt - clock.now()), resolve);
    });
    const done = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    await Promise.race([done, late]);
    cancel();
  }

  /** First what is under way, with all it brought made durable; then its connections. */
  async close(): Promise<void> {
    await this.#transfers.close();
    await stopServer(this.server, 0);
    await this.#store.close();
    this.#certificate?.close();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#open++;
    response.on("close", () => this.#open--);
    this.#answer(request, response).catch((error: unknown) => {
      this.#context.log.error({ err: error }, "a request failed");
      if (response.headersSent) response.destroy();
      else response.writeHead(failureOf(error).status, { connection: "close" }).end();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (await this.#access.identify(request, response)) return this.#transfers.node(request, response);
    // Refused before its content was looked at: the peer may read why, and then has to go.
    const cut = setTimeout(() => request.destroy(), REFUSED_MS);
    request.on("close", () => clearTimeout(cut));
    request.resume();
  }

  async #finished(file: FinishedFile, folder: string | undefined): Promise<void> {
    const at = folder === undefined ? undefined : await deliver(file, folder);
    this.#context.log.info(
      { session: file.handle, principal: file.principal, bytes: file.bytes, file: at ?? file.name },
      "an upload is finished",
    );
  }
}

function assertSaid({ users, tokens, web, anonymous }: AccessConfig, host: string): void {
  const known = users !== undefined || tokens !== undefined || web !== undefined;
  if (known || anonymous !== undefined || isLoopback(host)) return;
  throw new HoldfastError(
    "invalid-argument",
    `A transfer listener on ${host} needs users, tokens or web; "anonymous: true" opens it to everybody who reaches it.`,
    { detail: { host } },
  );
}

function policyOf(written: TransferConfig): Partial<TransferPolicy> {
  const { path, downloads, interim, origins } = written;
  const publicOrigin = written["public-origin"];
  return {
    ...configLimits(written.limits, LIMITS),
    ...(path !== undefined && { path }),
    ...(publicOrigin !== undefined && { publicOrigin }),
    ...(downloads !== undefined && { downloads }),
    ...(interim !== undefined && { interim }),
    ...(origins !== undefined && { cors: origins }),
  };
}

const LIMITS = {
  "max-bytes": "maxBytes",
  "max-request-bytes": "maxAppendBytes",
  "open-uploads": "openUploads",
  "reserved-bytes": "reservedBytes",
  "metadata-bytes": "metadataBytes",
  "keep-free": "watermarkBytes",
  expires: "expiresMs",
  "max-age": "maxAgeMs",
  idle: "idleProgressMs",
  "min-rate": "minBytesPerSecond",
  "commit-bytes": "commitBytes",
  "commit-every": "commitMs",
  grace: "graceMs",
  forget: "forgetMs",
} as const satisfies Record<string, keyof TransferPolicy>;

const REFUSED_MS = 10_000;
