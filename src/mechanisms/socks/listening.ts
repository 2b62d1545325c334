import type { Socket } from "node:net";
import { createServer } from "node:net";
import { listenOn } from "../../transport/listen.ts";
import { parseAddress, plainAddress } from "./address.ts";
import type { Endpoint } from "./codec.ts";
import type { Settings } from "./options.ts";
import type { Reached, Unreached } from "./outgoing.ts";
import type { Attempt } from "./outgoing.ts";
import { bindThrough, failureOf, localAddressTowards, permitted } from "./outgoing.ts";
import type { Question } from "./rules.ts";

/** A BIND under way: the port listens, and one peer may come. */
export interface Listening {
  readonly bound: Endpoint;
  /** Where the peer connected from, once it has. */
  readonly peer: Promise<{ readonly endpoint: Endpoint; readonly reached: Reached } | Unreached>;
}

/**
 * RFC 1928 §4 BIND: listens for the one peer that the client expects. `clientSide` is our address towards the client:
 * what we listen on when the client did not say who is to come.
 */
export async function listenForPeer(
  settings: Settings,
  question: Question,
  clientSide: string,
  attempt: Attempt,
): Promise<Listening | Unreached> {
  const upstream = settings.upstreamFor(question);
  // RFC 1928 names the peer's address for filtering; 0.0.0.0 says that the client does not know it.
  const anyone = isUnspecified(question.host);
  const expected = anyone ? { hosts: [] } : await permitted(settings, question, upstream);
  if ("failure" in expected) return expected;
  if (anyone && settings.rules.decide(question) === "deny") return NOT_ALLOWED;
  if (attempt.cancelled) return { failure: "general-failure", why: "the client has left" };
  try {
    if (upstream !== undefined) {
      return await throughUpstream(settings, upstream, question, expected.hosts[0], attempt);
    }
    const first = expected.hosts[0];
    const host = settings.outerHost ?? (first === undefined ? clientSide : await localAddressTowards(first));
    return await directly(settings, question, expected.hosts, host, attempt);
  } catch (error) {
    return failureOf(error);
  }
}

async function directly(
  settings: Settings,
  question: Question,
  expected: readonly string[],
  host: string,
  attempt: Attempt,
): Promise<Listening> {
  const server = createServer({ allowHalfOpen: true, noDelay: true });
  const at = await listenOn(server, { host }, 8);
  const bound = { host: plainAddress(at.host), port: at.port };
  attempt.stop = () => server.close();
  const peer = new Promise<{ endpoint: Endpoint; reached: Reached } | Unreached>((resolve) => {
    server.on("error", (error) => resolve(failureOf(error)));
    server.on("close", () => resolve({ failure: "general-failure", why: "no longer waited for" }));
    server.on("connection", (socket) => {
      const from = endpointOf(socket);
      // Whoever else knocks is turned away, and the wait goes on: a stranger must not be able to end it.
      const awaited = expected.length === 0 || expected.includes(from.host);
      if (!awaited || settings.rules.decide(question, from.host) !== "allow") {
        socket.resetAndDestroy();
        return;
      }
      socket.on("error", () => socket.destroy());
      attempt.stop = () => socket.destroy();
      resolve({ endpoint: from, reached: { leg: { socket }, bound } });
      server.close();
    });
  });
  return { bound, peer };
}

async function throughUpstream(
  settings: Settings,
  upstream: NonNullable<ReturnType<Settings["upstreamFor"]>>,
  question: Question,
  expected: string | undefined,
  attempt: Attempt,
): Promise<Listening> {
  const destination = { host: expected ?? question.host, port: question.port };
  const { negotiation, bound } = await bindThrough(settings, upstream, destination);
  attempt.stop = () => negotiation.fail(new Error("the client has left"));
  negotiation.unlimited();
  const peer = negotiation.next().then((endpoint) => {
    const socket = negotiation.handOver();
    socket.on("error", () => socket.destroy());
    attempt.stop = () => socket.destroy();
    if (settings.rules.decide(question, endpoint.host) === "allow") {
      return { endpoint, reached: { leg: { socket }, bound } };
    }
    socket.destroy();
    return NOT_ALLOWED;
  }, failureOf);
  return { bound, peer };
}

function endpointOf(socket: Socket): Endpoint {
  return { host: plainAddress(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 };
}

export function isUnspecified(host: string): boolean {
  return parseAddress(host)?.every((byte) => byte === 0) ?? false;
}

const NOT_ALLOWED: Unreached = { failure: "not-allowed", why: "no rule allows it" };
