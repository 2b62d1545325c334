import type { TLSSocket } from "node:tls";
import type { Kernel } from "../../kernel/index.ts";
import { HoldfastError, Secret } from "../../kernel/index.ts";

export interface TlsSessionsOptions {
  /** TLS sessions are listed, counted and revoked here; its store also holds cached sessions and shared keys. */
  readonly kernel: Kernel;
  /** The name of the servers that resume each other's sessions. Others with the same secret stay apart. */
  readonly cluster: string;
  /**
   * What all of them know and nobody else, at least 32 bytes (a text counts as it is written). Of several the first makes
   * tickets and all are accepted.
   */
  readonly secret: TlsSecret | readonly TlsSecret[];
  /**
   * `ticket` (the default): the client keeps the session, encrypted. `cache`: the store keeps it, the client its name, so
   * that deleting it ends it. `both`: tickets, and names for TLS 1.2 clients that know no tickets.
   */
  readonly mode?: TlsMode;
  /**
   * Where each epoch's keys come from. `derived` (the default): from the secret alone; whoever has it can read every
   * ticket ever made. `ratchet`: each root from the one before, which is then erased. `random`: new ones each epoch. The
   * latter two meet in the store, sealed under the secret, and need one that all servers see.
   */
  readonly keys?: "derived" | "ratchet" | "random";
  /** A new key each so often; 12 hours unless given. */
  readonly epochMs?: number;
  /** Keys accepted besides the current one, in epochs; 1 and 1 unless given. */
  readonly accept?: { readonly previous?: number; readonly next?: number };
  /** A ticket or cached session is good for so long; 6 hours unless given, 7 days at most (RFC 8446 §4.6.1). */
  readonly maxTicketAgeMs?: number;
  /** From the full handshake through all resumptions; 24 hours unless given. */
  readonly maxChainAgeMs?: number;
  /**
   * Whether each ticket is good for one resumption. In `cache` mode TLS 1.3 always is, and TLS 1.2 never, because a
   * session ID stays the same. In `ticket` mode it costs a write in the store for each resumption; false unless given.
   */
  readonly singleUse?: boolean;
  /** Of this process: cached sessions and notes of used tickets. The oldest give way. 20,000 and 16 MiB unless given. */
  readonly cache?: { readonly maxEntries?: number; readonly maxBytes?: number };
  /**
   * Sessions of nobody in particular (no principal, no client certificate) that this process keeps, as anybody can make
   * them. The oldest without a connection give way, and are then resumed by nobody. 50,000 unless given.
   */
  readonly maxAnonymous?: number;
  /**
   * Sessions never cross from one trust domain to another: what it returns for the name the client asks for, or for
   * `undefined` when it names none. Unless given, one for all names; on servers that ask for client certificates each
   * name is its own.
   */
  readonly trustDomain?: (serverName: string | undefined) => string;
  readonly clientCertificates?: ClientCertificateRules;
  /** Whom a TLS session belongs to, once its handshake is done; nobody in particular unless given. */
  readonly principal?: (socket: TLSSocket) => string | undefined;
  /**
   * Whether a session that this store has never heard of may be resumed from a good ticket. Unless given: only where
   * the store is this process's own, so that the other servers of the cluster cannot have written into it.
   */
  readonly adopt?: boolean;
  /** The client has this long for its first message before it is handed to Node unread; 10 s unless given. */
  readonly helloMs?: number;
  /** Clients that say more in their first message are served, and not resumed; 32 KiB unless given. */
  readonly helloBytes?: number;
  /**
   * False: without undocumented parts of Node. Then it is `cache` whatever `mode` says, and servers are to be made with
   * `serverOptions`. Also what happens by itself on a Node that lacks them.
   */
  readonly internals?: boolean;
  /** Hears of faults in the background: a store that is down, a hook that throws. */
  readonly onFault?: (error: unknown) => void;
}

export type TlsSecret = Secret | string | Uint8Array;
export type TlsMode = "ticket" | "cache" | "both";

/** Held against every resumption of a session in which the client showed a certificate. Its expiry always is. */
export interface ClientCertificateRules {
  /**
   * The authorities in force, as PEM, for the name the client asked for: a session whose chain ended in another one is not
   * resumed. Left out, those given to `attach` or to the server's `setSecureContext`.
   */
  readonly ca?: (
    serverName: string | undefined,
  ) => string | Buffer | readonly (string | Buffer)[] | undefined;
  /** True for a certificate that is no longer good. */
  readonly revoked?: (certificate: ClientCertificate) => boolean | Promise<boolean>;
}

/** The certificate a client showed when the session began. */
export interface ClientCertificate {
  /** SHA-256 as colon-separated hex, as Node writes it. */
  readonly fingerprint: string;
  readonly serialNumber: string;
  readonly subject: string;
  /** The earliest end of any certificate in its chain. */
  readonly notAfter: number;
  /** Of the authority its chain ended in. */
  readonly authority: string;
}

export interface Settings {
  readonly kernel: Kernel;
  readonly cluster: string;
  readonly secrets: readonly Buffer[];
  readonly mode: TlsMode;
  readonly keys: "derived" | "ratchet" | "random";
  readonly epochMs: number;
  readonly previous: number;
  readonly next: number;
  readonly maxTicketAgeMs: number;
  readonly maxChainAgeMs: number;
  readonly singleUse: boolean;
  readonly maxEntries: number;
  readonly maxBytes: number;
  readonly maxAnonymous: number;
  readonly trustDomain: ((serverName: string | undefined) => string) | undefined;
  readonly certificates: ClientCertificateRules;
  readonly principal: (socket: TLSSocket) => string | undefined;
  readonly adopt: boolean;
  readonly helloMs: number;
  readonly helloBytes: number;
  readonly internals: boolean;
  readonly onFault: (error: unknown) => void;
}

/** @throws HoldfastError `invalid-argument`. */
export function settle(options: TlsSessionsOptions): Settings {
  const { kernel, accept = {}, cache = {} } = options;
  const secrets = (isMany(options.secret) ? options.secret : [options.secret]).map(secretBytes);
  if (secrets.length === 0) throw invalid("Give at least one secret.", {});
  const epochMs = within("epochMs", options.epochMs ?? 12 * HOUR, 1_000, Infinity);
  return {
    kernel,
    cluster: options.cluster,
    secrets,
    mode: options.mode ?? "ticket",
    keys: options.keys ?? "derived",
    epochMs,
    previous: within("accept.previous", accept.previous ?? 1, 0, 64),
    next: within("accept.next", accept.next ?? 1, 0, 4),
    maxTicketAgeMs: within("maxTicketAgeMs", options.maxTicketAgeMs ?? 6 * HOUR, 1_000, 168 * HOUR),
    maxChainAgeMs: within("maxChainAgeMs", options.maxChainAgeMs ?? 24 * HOUR, 1_000, Infinity),
    singleUse: options.singleUse ?? false,
    maxEntries: within("cache.maxEntries", cache.maxEntries ?? 20_000, 1, Infinity),
    maxBytes: within("cache.maxBytes", cache.maxBytes ?? 16 * 2 ** 20, 1_024, Infinity),
    maxAnonymous: within("maxAnonymous", options.maxAnonymous ?? 50_000, 1, Infinity),
    trustDomain: options.trustDomain,
    certificates: options.clientCertificates ?? {},
    principal: options.principal ?? (() => undefined),
    adopt: options.adopt ?? kernel.store.reach === "process",
    helloMs: within("helloMs", options.helloMs ?? 10_000, 1, Infinity),
    helloBytes: within("helloBytes", options.helloBytes ?? 32 * 1_024, 512, 2 ** 20),
    internals: options.internals ?? true,
    onFault: options.onFault ?? (() => {}),
  };
}

/** @throws HoldfastError `invalid-argument` when it is too short to be a secret. */
export function secretBytes(secret: TlsSecret): Buffer {
  const bytes = Buffer.from(secret instanceof Secret ? secret.reveal() : secret);
  if (bytes.length >= MIN_SECRET) return bytes;
  throw invalid(`A cluster's secret has at least ${MIN_SECRET} bytes; take 32 random ones.`, {
    bytes: bytes.length,
  });
}

function within(name: string, value: number, least: number, most: number): number {
  if (value >= least && value <= most) return value;
  throw invalid(`${name} is between ${least} and ${most}.`, { [name]: value });
}

function invalid(message: string, detail: Readonly<Record<string, unknown>>): HoldfastError {
  return new HoldfastError("invalid-argument", message, { detail });
}

function isMany(secret: TlsSecret | readonly TlsSecret[]): secret is readonly TlsSecret[] {
  return Array.isArray(secret);
}

const MIN_SECRET = 32;
const HOUR = 3_600_000;
