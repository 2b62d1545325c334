import { constants } from "node:crypto";
import { isIP } from "node:net";
import type { ConnectionOptions, PeerCertificate, SecureVersion, TLSSocket } from "node:tls";
import { connect } from "node:tls";
import { isFault } from "../../wire/index.ts";
import type { SslSession } from "./ssl-session.ts";
import { parseSslSession, withoutEnvelope } from "./ssl-session.ts";

export interface Target {
  readonly host: string;
  readonly port: number;
  /** The name in the ClientHello; none when `host` is an address and this is left out. */
  readonly servername?: string;
  /** A client's certificate and key in PEM, for servers that ask for one. */
  readonly identity?: { readonly cert: Buffer; readonly key: Buffer };
  /** Asks for / over HTTP/1.1, for servers that send tickets only with their first answer. */
  readonly http?: boolean;
  /** How long a server may take to close once it was told that nothing more comes. */
  readonly waitMs: number;
  readonly signal?: AbortSignal;
}

export interface TripOptions {
  /** The only one offered; both ends of what OpenSSL has when left out. */
  readonly version?: SecureVersion;
  readonly session?: Keepsake;
  /** Does not offer session tickets: TLS 1.2 then resumes by session ID. */
  readonly withoutTickets?: boolean;
  /**
   * Stays so long for a ticket, for servers that put a session away first and forget to send its ticket when the client
   * has gone by then.
   */
  readonly lingerMs?: number;
}

/** What a client keeps of a connection, to resume with. */
export interface Keepsake extends SslSession {
  /** OpenSSL's form of it. */
  readonly blob: Buffer;
}

/** One connection that was made, and closed in good order. */
export interface Trip {
  readonly version: string;
  readonly cipher: string;
  readonly resumed: boolean;
  /** What the server gave on this connection, in the order in which it came; empty when it only took. */
  readonly kept: readonly Keepsake[];
  readonly address: string;
  readonly certificate: PeerCertificate | undefined;
  /** Why the certificate is not trusted here; absent when it is. */
  readonly distrust?: string;
}

/** One connection that came to nothing. */
export interface Mishap {
  /** `ECONNREFUSED`, `ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION`, … */
  readonly code: string;
  readonly why: string;
}

export function isMishap(outcome: Trip | Mishap): outcome is Mishap {
  return "why" in outcome;
}

/** Connects, says that nothing more comes, and collects what the server sends until it closes. */
export function travel(target: Target, options: TripOptions = {}): Promise<Trip | Mishap> {
  return new Promise((resolve) => {
    const kept: Keepsake[] = [];
    let made: Omit<Trip, "kept"> | undefined;
    let mishap: Mishap | undefined;
    const socket = connect(connectionOptions(target, options));
    const cut = (): unknown => socket.destroy();
    let late = setTimeout(cut, HANDSHAKE_MS);
    target.signal?.addEventListener("abort", cut);
    let leaving: NodeJS.Timeout | undefined;
    const leaveIn = (ms: number): void => {
      clearTimeout(leaving);
      leaving = setTimeout(() => socket.end(), ms);
    };
    socket.on("session", (given: Buffer) => {
      if (socket.getProtocol() !== "TLSv1.3") return;
      keep(kept, given);
      // Another often follows.
      if (leaving !== undefined) leaveIn(SETTLE_MS);
    });
    socket.once("secureConnect", () => {
      made = madeOf(socket);
      keepOlder(socket, options.session, kept);
      clearTimeout(late);
      // A server that does not close is left; what it has sent by then is what there is.
      late = setTimeout(cut, target.waitMs + (options.lingerMs ?? 0));
      if (target.http === true) socket.write(requestFor(target));
      // RFC 8446 §4.6.1: tickets come once the client has finished. A server works through what it gets in order, so
      // they are on their way before it answers our close.
      else if (options.lingerMs === undefined) socket.end();
      else leaveIn(options.lingerMs);
    });
    socket.once("error", ({ code, name, message }: NodeJS.ErrnoException) => {
      mishap = { code: code ?? name, why: message };
    });
    socket.once("close", () => {
      clearTimeout(late);
      clearTimeout(leaving);
      target.signal?.removeEventListener("abort", cut);
      // TLS 1.3: a client is through before the server has looked at its certificate, and may hear only then.
      const refused = made !== undefined && mishap?.code.startsWith("ERR_SSL_") === true;
      resolve(made === undefined || refused ? (mishap ?? TOO_LATE) : { ...made, kept });
    });
    socket.resume();
  });
}

function connectionOptions(
  target: Target,
  { version, session, withoutTickets }: TripOptions,
): ConnectionOptions {
  const { host, port, identity, http } = target;
  const servername = target.servername ?? (isIP(host) === 0 ? host : "");
  return {
    host,
    port,
    servername,
    minVersion: version ?? "TLSv1",
    maxVersion: version ?? "TLSv1.3",
    // OpenSSL 3 has TLS 1.0 and 1.1 at security level 0 only; what the server would take is the question here.
    ciphers: "DEFAULT@SECLEVEL=0",
    // Nothing is said to the server that is not public; whether its certificate is trusted is reported instead.
    rejectUnauthorized: false,
    ...(session !== undefined && { session: session.blob }),
    ...(withoutTickets === true && { secureOptions: constants.SSL_OP_NO_TICKET }),
    ...(identity !== undefined && { cert: identity.cert, key: identity.key }),
    ...(http === true && { ALPNProtocols: ["http/1.1"] }),
  };
}

function madeOf(socket: TLSSocket): Omit<Trip, "kept"> {
  const certificate = socket.getPeerCertificate();
  // Node's types promise an Error; it is the code as text.
  const distrust = socket.authorized ? undefined : String(socket.authorizationError);
  return {
    version: socket.getProtocol() ?? "unknown",
    cipher: socket.getCipher().name,
    resumed: socket.isSessionReused(),
    address: socket.remoteAddress ?? "",
    certificate: Object.keys(certificate).length === 0 ? undefined : certificate,
    ...(distrust !== undefined && { distrust }),
  };
}

/** RFC 5077 §3.3: before TLS 1.3 the ticket comes within the handshake, and a new one may come with a resumption. */
function keepOlder(socket: TLSSocket, offered: Keepsake | undefined, kept: Keepsake[]): void {
  const given = socket.getProtocol() === "TLSv1.3" ? undefined : socket.getSession();
  if (given === undefined) return;
  const blob = withoutEnvelope(given);
  const session = parseSslSession(blob);
  if (isFault(session)) return;
  if (session.ticket === undefined && session.id.length === 0) return;
  const isOffered =
    socket.isSessionReused() &&
    offered !== undefined &&
    (session.ticket === undefined
      ? session.id.equals(offered.id)
      : offered.ticket !== undefined && session.ticket.equals(offered.ticket));
  if (!isOffered) kept.push({ ...session, blob });
}

function keep(kept: Keepsake[], given: Buffer): void {
  const blob = withoutEnvelope(given);
  const session = parseSslSession(blob);
  if (!isFault(session)) kept.push({ ...session, blob });
}

function requestFor({ host, servername }: Target): string {
  return `HEAD / HTTP/1.1\r\nHost: ${servername ?? host}\r\nUser-Agent: holdfast\r\nConnection: close\r\n\r\n`;
}

const HANDSHAKE_MS = 10_000;
const SETTLE_MS = 50;
const TOO_LATE: Mishap = { code: "ETIMEDOUT", why: "no handshake within 10 seconds" };
