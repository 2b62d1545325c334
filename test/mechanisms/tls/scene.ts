import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import tls from "node:tls";
import type { Clock, Kernel, SessionStore } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { TlsSessions, TlsSessionsOptions } from "../../../src/mechanisms/tls/index.ts";
import { tlsSessions } from "../../../src/mechanisms/tls/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import type { Pair } from "./certificates.ts";
import { certificate } from "./certificates.ts";

export const SECRET = "the secret that all servers of a test's cluster have";
export const own: Pair = certificate(["localhost", "a.test", "b.test"]);

/** One server of a cluster, as a process of its own would be one: with its own kernel. */
export interface Member {
  readonly kernel: Kernel;
  readonly sessions: TlsSessions;
  readonly server: tls.Server;
  readonly port: number;
  readonly faults: unknown[];
}

export interface MemberOptions {
  readonly store?: SessionStore;
  readonly clock?: Clock;
  readonly sessions?: Partial<TlsSessionsOptions>;
  readonly tls?: tls.TlsOptions;
  readonly attach?: { readonly ca: string };
}

/** A server that tells its client what it thinks of the connection, and closes it, unless the client asks to stay. */
export async function member(t: TestContext, options: MemberOptions = {}): Promise<Member> {
  const store = options.store ?? memory();
  const { clock } = options;
  const kernel = createKernel({ store, ...(clock !== undefined && { clock }) });
  const faults: unknown[] = [];
  const sessions = tlsSessions({
    kernel,
    cluster: "test",
    secret: SECRET,
    onFault: (error) => faults.push(error),
    ...options.sessions,
  });
  const server = tls.createServer(sessions.serverOptions({ ...own, ...options.tls }));
  sessions.attach(server, options.attach);
  server.on("secureConnection", (socket) => {
    socket.on("error", () => {});
    const told = {
      reused: socket.isSessionReused(),
      authorized: socket.authorized,
      handle: sessions.sessionOf(socket) ?? null,
    };
    if (socket.servername === "stay.test") socket.write(`${JSON.stringify(told)}\n`);
    else socket.end(`${JSON.stringify(told)}\n`);
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(async () => {
    server.close();
    sessions.close();
    await kernel.close();
  });
  return { kernel, sessions, server, port: (server.address() as AddressInfo).port, faults };
}

export interface Visit {
  /** What the client saw, and what the server said. */
  readonly reused: boolean;
  readonly told: { readonly reused: boolean; readonly authorized: boolean; readonly handle: string | null };
  readonly protocol: string | null;
  /** The newest session there is to resume from, and all that came. */
  readonly session: Buffer | undefined;
  readonly sessions: readonly Buffer[];
  readonly socket: tls.TLSSocket;
}

/** One connection from beginning to end (with `servername: "stay.test"`: to its first line). Rejects when it fails. */
export function visit(port: number, options: tls.ConnectionOptions = {}): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      port,
      host: "127.0.0.1",
      servername: "localhost",
      rejectUnauthorized: false,
      ...options,
    });
    const sessions: Buffer[] = [];
    let [text, reused, protocol] = ["", false, null as string | null];
    let isDone = false;
    const done = (): void => {
      if (isDone) return;
      const line = text.split("\n", 1)[0] ?? "";
      if (line === "") return reject(new Error("closed without a word"));
      isDone = true;
      const told = JSON.parse(line) as Visit["told"];
      resolve({ reused, told, protocol, session: sessions.at(-1) ?? options.session, sessions, socket });
    };
    socket.on("secureConnect", () => {
      reused = socket.isSessionReused();
      protocol = socket.getProtocol();
    });
    const stays = options.servername === "stay.test";
    socket.on("session", (session) => {
      sessions.push(bare(session));
      if (stays && text.includes("\n")) done();
    });
    socket.on("data", (chunk: Buffer) => {
      text += String(chunk);
      const hasSession = sessions.length > 0 || options.session !== undefined;
      if (stays && hasSession && text.includes("\n")) done();
    });
    socket.on("error", reject);
    socket.on("close", done);
  });
}

/** As `visit`, with the newest session of the visit before, if there was one. */
export function again(
  port: number,
  before: Visit | undefined,
  options: tls.ConnectionOptions = {},
): Promise<Visit> {
  const { session } = before ?? {};
  return visit(port, { ...options, ...(session !== undefined && { session }) });
}

export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`it did not come about: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * The session as OpenSSL writes it. Node 22 and later put the server's name in front, and then a client does not offer the
 * session under another one; here it is the server that is to be tested.
 */
function bare(session: Buffer): Buffer {
  const prefix = Buffer.from("\0nodejs:tls:session:1\0");
  if (!session.subarray(0, prefix.length).equals(prefix)) return session;
  return session.subarray(prefix.length + 2 + session.readUInt16BE(prefix.length));
}

/** Where the ticket lies in a client's session: SSL_SESSION_ASN1's member [10]. */
export function ticketIn(session: Buffer): { from: number; end: number } {
  let at = headerOf(session, 0).from;
  while (at < session.length) {
    const { from, end } = headerOf(session, at);
    if (session[at] === 0xaa) return headerOf(session, from);
    at = end;
  }
  throw new Error("no ticket in this session");
}

function headerOf(der: Buffer, at: number): { from: number; end: number } {
  const first = der[at + 1] ?? 0;
  const long = first >= 0x80 ? first & 0x7f : 0;
  const length = long === 0 ? first : der.readUIntBE(at + 2, long);
  const from = at + 2 + long;
  return { from, end: from + length };
}
