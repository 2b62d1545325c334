/** The client for Node: WebSocket (`ws:`, `wss:`), event stream with posts (`http:`, `https:`), TCP and TLS (`tcp:`, `tls:`). */
import { connect as connectTcp } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { connect as connectTls } from "node:tls";
import { WebSocket } from "ws";
import { HoldfastError } from "../../kernel/errors.ts";
import type { Link, LinkListener, Surroundings } from "./client.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { connectOver } from "./client.ts";
import { nodeFetcher } from "./node-fetcher.ts";
import { postedLink } from "./posted-link.ts";
import type { Dialog } from "./dialog.ts";
import { socketLink, webSocketLink } from "./links.ts";
import { rulesFor } from "./machine/rules-for.ts";
import { explain } from "./machine/reasons.ts";

export { Dialog } from "./dialog.ts";
export { DialogMessage } from "./told.ts";
export type { DialogEnd, DialogEvents, SendLevel, SyncPoint } from "./told.ts";
export type { DialogMode } from "./connect-options.ts";
export { TOKEN } from "./numbers.ts";

export interface NodeConnectOptions extends ConnectOptions {
  /** For `wss:`, `https:` and `tls:`. */
  readonly tls?: ConnectionOptions;
  /** HTTP headers of the WebSocket's upgrade, and of every request of the event stream. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Opens a dialog, and keeps it over as many links as it takes. */
export function connect(url: string, options: NodeConnectOptions = {}): Promise<Dialog> {
  const around: Surroundings = {
    open: (at, listener, failures) =>
      openLink(failures % 2 ? at.replace(/^ws/, "http") : at, listener, options),
    defer: (run) => process.nextTick(run),
    rules: rulesFor,
    explain,
  };
  return connectOver(around, url, options);
}

function openLink(url: string, listener: LinkListener, options: NodeConnectOptions): Link {
  const { protocol, hostname, port } = new URL(url);
  switch (protocol) {
    case "http:":
    case "https:":
      return postedLink(url, listener, nodeFetcher(options.tls), options.headers);
    case "ws:":
    case "wss:": {
      const { headers, tls } = options;
      const socket = new WebSocket(url, "holdfast.v1", {
        perMessageDeflate: false,
        ...tls,
        ...(headers !== undefined && { headers: { ...headers } }),
      });
      socket.on("open", () => listener.open());
      return webSocketLink(socket, listener);
    }
    case "tcp:":
    case "tls:": {
      const host = hostname.replace(/^\[|\]$/g, "");
      const socket =
        protocol === "tcp:"
          ? connectTcp({ host, port: Number(port), noDelay: true })
          : connectTls({
              servername: host,
              ...options.tls,
              host,
              port: Number(port),
              ALPNProtocols: ["holdfast.v1"],
            });
      socket.on(protocol === "tcp:" ? "connect" : "secureConnect", () => listener.open());
      return socketLink(socket, listener);
    }
    default:
      throw new HoldfastError(
        "invalid-argument",
        `A dialog is opened at ws:, wss:, http:, https:, tcp: or tls:, not ${protocol}`,
      );
  }
}
