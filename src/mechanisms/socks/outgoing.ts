import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import type { Socket } from "node:net";
import { connectLeg } from "../../transport/connect.ts";
import type { Leg } from "../../transport/relay.ts";
import { ReadPort } from "../../transport/read-port.ts";
import { parseAddress, plainAddress } from "./address.ts";
import type { Endpoint, Failure } from "./codec.ts";
import type { Negotiation } from "./dial.ts";
import { negotiateChain } from "./dial.ts";
import type { Settings } from "./options.ts";
import type { Upstream } from "./options.ts";
import { ProxyError } from "./proxy.ts";
import type { Question } from "./rules.ts";

/** A connection to the destination, ready to be relayed to. */
export interface Reached {
  readonly leg: Leg;
  readonly bound: Endpoint;
}

export interface Unreached {
  readonly failure: Failure;
  readonly why: string;
}

/** Lets a client that leaves take back what was begun for it. */
export class Attempt {
  cancelled = false;
  /** Stops what is under way at the moment. */
  stop: () => void = () => {};

  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    this.stop();
  }
}

/** Connects to where the question asks to go, as far as the rules allow it: directly, or through the upstream proxy. */
export function reach(
  settings: Settings,
  question: Question,
  attempt: Attempt,
): Promise<Reached | Unreached> {
  const upstream = settings.upstreamFor(question);
  if (upstream !== undefined || parseAddress(question.host) === undefined) {
    return resolveAndReach(settings, question, upstream, attempt);
  }
  const host = plainAddress(question.host);
  if (settings.rules.decide(question, host) !== "allow") return Promise.resolve(DENIED);
  return connectOne(host, question.port, attempt, undefined);
}

async function resolveAndReach(
  settings: Settings,
  question: Question,
  upstream: Upstream,
  attempt: Attempt,
): Promise<Reached | Unreached> {
  const targets = await permitted(settings, question, upstream);
  if ("failure" in targets) return targets;
  if (attempt.cancelled) return GONE;
  return upstream === undefined
    ? connectFirst(settings, targets.hosts, question.port, attempt)
    : reachThrough(
        settings,
        upstream,
        { host: targets.hosts[0] ?? question.host, port: question.port },
        attempt,
      );
}

/**
 * The addresses the question may be answered with, best first. Every one was checked by itself, and it is these that are
 * connected to: what a name resolves to a moment later plays no part (DNS rebinding).
 */
export async function permitted(
  settings: Settings,
  question: Question,
  upstream: Upstream,
): Promise<{ readonly hosts: readonly string[] } | Unreached> {
  const { rules } = settings;
  if (parseAddress(question.host) !== undefined) {
    const host = plainAddress(question.host);
    return rules.decide(question, host) === "allow" ? { hosts: [host] } : DENIED;
  }
  if (upstream !== undefined && settings.upstreamResolves) {
    return rules.decideUnresolved(question) === "allow" ? { hosts: [question.host] } : DENIED;
  }
  if (rules.decide(question) === "deny") return DENIED;
  const found = await (settings.resolve ?? resolveBySystem)(question.host);
  const plain = found.filter((host) => parseAddress(host) !== undefined).map(plainAddress);
  if (plain.length === 0) return { failure: "host-unreachable", why: "the name has no address" };
  const hosts = plain.filter((host) => rules.decide(question, host) === "allow");
  return hosts.length > 0 ? { hosts } : DENIED;
}

/** The negotiation of a BIND with the upstream proxy; its second reply is still to come. */
export function bindThrough(
  settings: Settings,
  upstream: NonNullable<Upstream>,
  destination: Endpoint,
): Promise<{ negotiation: Negotiation; bound: Endpoint }> {
  return negotiateChain({ proxy: upstream, ...destination, timeoutMs: settings.limits.connectMs }, "bind");
}

/** The local address that packets to `host` leave from, as the system would route them. */
export function localAddressTowards(host: string): Promise<string> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  return new Promise<string>((resolve, reject) => {
    socket.once("error", reject);
    // Connecting a UDP socket sends nothing; it only asks the routing table. The port does not matter.
    socket.connect(9, host, () => resolve(socket.address().address));
  }).finally(() => socket.close());
}

export function failureOf(error: unknown): Unreached {
  const code = typeof error === "object" && error !== null && "code" in error ? String(error.code) : "";
  const why = code === "" ? String(error) : code;
  if (error instanceof ProxyError) return { failure: error.reply ?? "general-failure", why: error.message };
  return { failure: FAILURE_OF[code] ?? "general-failure", why };
}

/** One address after the other; the last failure is the answer. */
async function connectFirst(
  settings: Settings,
  hosts: readonly string[],
  port: number,
  attempt: Attempt,
): Promise<Reached | Unreached> {
  let answer: Unreached = GONE;
  for (const [at, host] of hosts.entries()) {
    // A dead address must not use up the time of those behind it.
    const last = at === hosts.length - 1;
    const result = await connectOne(
      host,
      port,
      attempt,
      last ? undefined : settings.limits.connectMs / hosts.length,
    );
    if ("leg" in result) return result;
    answer = result;
    if (attempt.cancelled) return GONE;
  }
  return answer;
}

function connectOne(
  host: string,
  port: number,
  attempt: Attempt,
  withinMs: number | undefined,
): Promise<Reached | Unreached> {
  return new Promise((resolve) => {
    const reads = new ReadPort();
    const socket = connectLeg(host, port, reads.onread);
    let timer: NodeJS.Timeout | undefined;
    const settled = (result: Reached | Unreached): void => {
      clearTimeout(timer);
      attempt.stop = () => socket.destroy();
      resolve(result);
    };
    const gaveUp = (result: Unreached): void => {
      socket.destroy();
      settled(result);
    };
    attempt.stop = () => gaveUp(GONE);
    if (withinMs !== undefined) {
      timer = setTimeout(() => gaveUp({ failure: "host-unreachable", why: "ETIMEDOUT" }), withinMs);
    }
    // Stays on: the connection may break before it is relayed.
    socket.on("error", (error) => settled(failureOf(error)));
    socket.once("connect", () => settled({ leg: { socket, port: reads }, bound: localEnd(socket) }));
  });
}

async function reachThrough(
  settings: Settings,
  upstream: NonNullable<Upstream>,
  destination: Endpoint,
  attempt: Attempt,
): Promise<Reached | Unreached> {
  const abort = new AbortController();
  attempt.stop = () => abort.abort();
  const { connectMs } = settings.limits;
  const timeoutMs = Math.min(connectMs, LONGEST_MS);
  try {
    const dialling = { proxy: upstream, ...destination, timeoutMs, signal: abort.signal };
    const { negotiation, bound } = await negotiateChain(dialling, "connect");
    const socket = negotiation.handOver();
    attempt.stop = () => socket.destroy();
    socket.on("error", () => socket.destroy());
    return { leg: { socket }, bound: parseAddress(bound.host) === undefined ? localEnd(socket) : bound };
  } catch (error) {
    return attempt.cancelled ? GONE : failureOf(error);
  }
}

export function localEnd(socket: Socket): Endpoint {
  return { host: plainAddress(socket.localAddress ?? "0.0.0.0"), port: socket.localPort ?? 0 };
}

async function resolveBySystem(name: string): Promise<readonly string[]> {
  try {
    return (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);
  } catch {
    // Whatever is wrong with it, the client is told the same: the host cannot be reached.
    return [];
  }
}

const GONE: Unreached = { failure: "general-failure", why: "the client has left" };
const DENIED: Unreached = { failure: "not-allowed", why: "no rule allows it" };
const LONGEST_MS = 2_147_483_647;

/** RFC 1928 §6's words for what the system says. */
const FAILURE_OF: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: "connection-refused",
  ECONNRESET: "connection-refused",
  ENETUNREACH: "network-unreachable",
  ENETDOWN: "network-unreachable",
  EAFNOSUPPORT: "network-unreachable",
  EADDRNOTAVAIL: "network-unreachable",
  EHOSTUNREACH: "host-unreachable",
  EHOSTDOWN: "host-unreachable",
  ETIMEDOUT: "host-unreachable",
  ENOTFOUND: "host-unreachable",
  EACCES: "not-allowed",
  EPERM: "not-allowed",
};
