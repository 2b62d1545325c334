import { isIPv4 } from "node:net";
import type { Kernel, PrincipalLimit } from "../kernel/index.ts";
import type { ListenerConfig } from "./config.ts";
import type { Log } from "./log.ts";
import type { Topics } from "./topics.ts";
import type { JsonSchema } from "./schema.ts";
import type { TlsRoom } from "./tls.ts";

/** What a listener is given. */
export interface ListenerContext {
  readonly kernel: Kernel;
  readonly log: Log;
  /** The gateway's data folder. */
  readonly data: string;
  /** What the configuration says of this mechanism's principals. */
  readonly limit: PrincipalLimit | undefined;
  /** What listeners write and read together, opened with the first use. */
  readonly topics: Topics;
  readonly tls: TlsRoom;
}

/** A mechanism, listening. */
export interface Listener {
  readonly name: string;
  readonly mechanism: string;
  /** Where it listens, as a URL. */
  readonly address: string;
  /** Where else, as a name service beside it. */
  readonly also?: readonly string[];
  /** Connections, or requests under way. */
  open(): number;
  /** Stops accepting, tells peers, and resolves when nothing is left or `deadlineAt` has come. */
  drain(deadlineAt: number): Promise<void>;
  /** Closes what is left, at once. */
  close(): Promise<void>;
}

/** How a mechanism becomes a listener: one file in listeners/ each. */
export interface ListenerKind {
  /** Its own options, as JSON Schema; name, host and port are every listener's. */
  readonly schema: JsonSchema;
  readonly defaultPort: number;
  listen(config: ListenerConfig, context: ListenerContext): Promise<Listener>;
}

/** Whether only this machine reaches it. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** As it stands in a URL. */
export function hostPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

export function addressOf(scheme: string, server: { address(): unknown }): string {
  const { address: host, port } = server.address() as { address: string; port: number };
  return `${scheme}://${hostPort({ host, port })}`;
}
