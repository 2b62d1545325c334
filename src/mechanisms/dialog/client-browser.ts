/** The client for browsers, over the browser's own WebSocket, or its `fetch` where there is no way for one. */
import type { Link, LinkListener, Surroundings } from "./client.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { connectOver } from "./client.ts";
import type { Dialog } from "./dialog.ts";
import type { LateLink } from "./posted-browser.ts";
import { isPlain, plainRules } from "./machine/plain-rules.ts";

export { Dialog } from "./dialog.ts";
export { DialogMessage } from "./told.ts";
export type { DialogEnd, DialogEvents, SendLevel, SyncPoint } from "./told.ts";
export type { ConnectOptions, DialogMode } from "./connect-options.ts";
export { TOKEN } from "./numbers.ts";

/** Opens a dialog at a `wss:` address (or `https:`, for an event stream with posts), and keeps it over as many links as it takes. */
export function connect(url: string, options?: ConnectOptions): Promise<Dialog> {
  return connectOver(browser, url, options);
}

const openPosted = (url: string, listener: LinkListener): Link => {
  // Nothing is sent before it has opened, nor requested before anything was sent.
  const link: LateLink = { bufferedAmount: 0, send() {}, close() {} };
  import("./posted-browser.ts").then((posted) => posted.open(url, listener, link), listener.closed);
  return link;
};

const browser: Surroundings = {
  // Of wss: and https: addresses, that of the event stream is the one with an h.
  open: (url, listener, failures) =>
    (failures % 2 || url[0] === "h" ? openPosted : openWebSocket)(url, listener),
  defer(run) {
    // Unlike a timer it is not held back, neither by 4 ms nor in a page in the background.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      run();
    };
    port2.postMessage(0);
  },
  // Tokens and sync points are loaded by those who want them.
  rules: async (units) => (isPlain(units) ? plainRules : (await import("./machine/rules.ts")).fullRules),
  // docs/dialog.md has them all.
  explain: (reason) => reason,
  online(run) {
    addEventListener("online", run);
    return () => removeEventListener("online", run);
  },
};

/** What is used of the browser's WebSocket. */
interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: (() => void) | null;
  send(bytes: Uint8Array): void;
  close(): void;
}

function openWebSocket(url: string, listener: LinkListener): Link {
  const socket = new WebSocket(url, "holdfast.v1");
  socket.binaryType = "arraybuffer";
  socket.onopen = listener.open;
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) listener.message(new Uint8Array(data));
    else socket.close();
  };
  // What goes wrong is told by the close that follows it. A socket that is half-open takes its time to close; nobody listens
  // to it any more then.
  socket.onclose = listener.closed;
  return socket;
}

declare const MessageChannel: new () => {
  readonly port1: { onmessage: (() => void) | null; close(): void };
  readonly port2: { postMessage(message: number): void };
};
declare const WebSocket: new (url: string, protocols: string) => WebSocketLike;
declare function addEventListener(name: "online", run: () => void): void;
declare function removeEventListener(name: "online", run: () => void): void;
