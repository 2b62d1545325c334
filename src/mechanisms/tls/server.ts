import { constants, createHash } from "node:crypto";
import type { Server, TlsOptions, TLSSocket } from "node:tls";
import type { Handle, Revocation, RevokeOptions } from "../../kernel/index.ts";
import { HoldfastError } from "../../kernel/index.ts";
import { Attachment } from "./attachment.ts";
import type { Surroundings } from "./attachment.ts";
import { SessionCache } from "./cache.ts";
import { Chains } from "./chains.ts";
import { hourOf } from "./codec/ticket.ts";
import type { Steering } from "./internals.ts";
import { steering } from "./internals.ts";
import { Judge } from "./judge.ts";
import { Keyring } from "./keyring.ts";
import type { TlsMetrics } from "./metrics.ts";
import { Counters } from "./metrics.ts";
import type { Settings, TlsMode, TlsSecret, TlsSessionsOptions } from "./options.ts";
import { secretBytes, settle } from "./options.ts";
import { epochOf } from "./schedule.ts";
import { RandomRoots, RatchetRoots } from "./shared-roots.ts";
import type { SharedRoots } from "./shared-roots.ts";
import { Stage } from "./stage.ts";

/**
 * Resumption for any `tls`, `https` or `http2` server, that works across servers, restarts, rotations and certificate
 * reloads; each TLS session a session of the kernel.
 * @throws HoldfastError `invalid-argument` when an option makes no sense.
 */
export function tlsSessions(options: TlsSessionsOptions): TlsSessions {
  return new TlsSessions(options);
}

export interface RotateOptions {
  /**
   * When tickets begin to be made with the new secret; it is accepted from now on. Unless given: with the next epoch, so
   * that all servers can be told in the meantime and none refuses what another has made.
   */
  readonly makesFrom?: "now" | "next-epoch" | number;
}

export interface AttachOptions {
  /** The authorities for client certificates, as they were given to the server. `setSecureContext` with others is noticed. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[];
}

export class TlsSessions implements Disposable {
  readonly #settings: Settings;
  readonly #keyring: Keyring;
  readonly #roots: SharedRoots | undefined;
  readonly #cache: SessionCache;
  readonly #chains: Chains;
  readonly #counters = new Counters();
  readonly #around: Surroundings;
  readonly #attached = new Map<Server, Attachment>();
  readonly #sessions = new Map<TLSSocket, Handle>();
  #stopListening: () => void;

  constructor(options: TlsSessionsOptions) {
    const settings = settle(options);
    this.#settings = settings;
    this.#roots = sharedRoots(settings, (before) => this.#keyring.erase(before));
    this.#keyring = new Keyring(settings, this.#roots);
    this.#cache = new SessionCache(settings, this.#keyring);
    this.#chains = new Chains(settings);
    const { kernel, cluster, maxTicketAgeMs } = settings;
    const parts = {
      keyring: this.#keyring,
      cache: this.#cache,
      chains: this.#chains,
      counters: this.#counters,
    };
    this.#around = {
      settings,
      ...parts,
      judge: new Judge(settings, parts),
      stage,
      steering: settings.internals ? steeringHere() : undefined,
      maker: {
        making: (domain) => this.#keyring.making(domain, kernel.clock.now()),
        mint: () => this.#chains.mint(),
        hourNow: () => hourOf(kernel.clock.now()),
        counted: (what) => this.#counters.tickets[what]++,
      },
      ready: () => this.#roots?.ready(),
      contextSettings: {
        // The default is a hash of the command line: another port there, and no session would be resumed.
        sessionIdContext: createHash("sha256").update(`holdfast ${cluster}`).digest("hex").slice(0, 32),
        sessionTimeout: Math.ceil(maxTicketAgeMs / 1_000),
      },
      belongs: (socket, handle) => this.#belongs(socket, handle),
    };
    this.#stopListening = kernel.onEntry(({ event, handle, mechanism }) => {
      if (event !== "end" || mechanism !== "tls" || handle === undefined) return;
      this.#chains.forget(handle);
      this.#cache.forget(handle).catch(settings.onFault);
    });
  }

  /** What `mode` has come to on this Node: `cache` where tickets cannot be keyed. */
  get mode(): TlsMode {
    return this.#around.steering === undefined ? "cache" : this.#settings.mode;
  }

  /**
   * Takes over the sessions of a server, before or after it listens. Returns how to leave it again.
   * @throws HoldfastError `invalid-argument`: no TLS server, attached already, or with `resumeSession` listeners of its own.
   */
  attach(server: Server, { ca }: AttachOptions = {}): () => void {
    if (this.#attached.has(server))
      throw new HoldfastError("invalid-argument", "This server has its sessions already.");
    if (server.listenerCount("resumeSession") > 0) {
      throw new HoldfastError(
        "invalid-argument",
        "This server has a `resumeSession` listener, and a session has one keeper; remove it.",
      );
    }
    const { kernel, onFault } = this.#settings;
    // A session may be resumed here before one begins here; its end is to be heard of all the same.
    kernel.start().catch(onFault);
    const attachment = new Attachment(this.#around, server, ca);
    this.#attached.set(server, attachment);
    return () => {
      if (this.#attached.delete(server)) attachment.detach();
    };
  }

  /**
   * Options for `createServer`, with all that sessions need of them. Servers that are attached do not need it, unless
   * `internals` is false or this Node lacks what is used of it.
   */
  serverOptions<T extends TlsOptions>(options: T): T {
    const { secureOptions = 0 } = options;
    const made = {
      ...options,
      ...this.#around.contextSettings,
      secureOptions: this.mode === "cache" ? secureOptions | constants.SSL_OP_NO_TICKET : secureOptions,
    };
    return made;
  }

  /**
   * Another secret, accepted at once and made with from the next epoch on. What was made with the one before stays good
   * for its time. With `ratchet` and `random` keys, what lies in the store is sealed anew with it, and `makesFrom` means
   * nothing.
   * @throws HoldfastError `invalid-argument`, `store-unavailable`.
   */
  async rotate(secret: TlsSecret, { makesFrom = "next-epoch" }: RotateOptions = {}): Promise<void> {
    const { kernel, epochMs } = this.#settings;
    const now = kernel.clock.now();
    const next = (epochOf(now, epochMs) + 1) * epochMs;
    const from = makesFrom === "now" ? now : makesFrom === "next-epoch" ? next : makesFrom;
    if (this.#roots === undefined) this.#keyring.rotate(secretBytes(secret), from);
    else await this.#roots.rewrap(secretBytes(secret));
  }

  /** Ends a TLS session: its connections are closed, and what its client holds leads to a full handshake. */
  revoke(handle: Handle, options: RevokeOptions): Promise<Revocation> {
    return this.#settings.kernel.revoke({ handle, mechanism: "tls" }, options);
  }

  /** The session a connection belongs to, from `secureConnection` on. */
  sessionOf(socket: TLSSocket): Handle | undefined {
    return this.#sessions.get(socket);
  }

  metrics(): TlsMetrics {
    return this.#counters.snapshot({ connections: this.#sessions.size, cache: this.#cache.stats });
  }

  /** Leaves all servers. */
  close(): void {
    for (const attachment of this.#attached.values()) attachment.detach();
    this.#attached.clear();
    this.#chains.close();
    this.#roots?.close();
    this.#stopListening();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #belongs(socket: TLSSocket, handle: Handle): void {
    if (!this.#sessions.has(socket)) {
      if (socket.destroyed) return;
      socket.once("close", () => this.#sessions.delete(socket));
    }
    this.#sessions.set(socket, handle);
  }
}

function sharedRoots(settings: Settings, erased: (before: number) => void): SharedRoots | undefined {
  if (settings.keys === "derived") return undefined;
  return settings.keys === "random" ? new RandomRoots(settings, erased) : new RatchetRoots(settings, erased);
}

/** One for the process: OpenSSL asks a context, and a context may stand for servers of several mechanisms. */
const stage = new Stage();
let found: { readonly steering: Steering | undefined } | undefined;

function steeringHere(): Steering | undefined {
  found ??= {
    steering: steering((context, name, iv, making) => stage.ticketKeys(context, name, iv, making)),
  };
  return found.steering;
}
