import type { LinkListener } from "./client.ts";
import type { Fetcher } from "./posted-link.ts";
import { postedLink } from "./posted-link.ts";

/** A link that was given out before what carries it was loaded. */
export interface LateLink {
  bufferedAmount: number;
  send(message: Uint8Array): void;
  close(): void;
}

/** An event stream with posts, over the browser's `fetch`. Loaded by those who need it: nearly everybody has a WebSocket. */
export function open(url: string, listener: LinkListener, late: LateLink): void {
  const link = postedLink(
    url,
    {
      ...listener,
      drained() {
        late.bufferedAmount = link.bufferedAmount;
        listener.drained();
      },
    },
    fetcher,
  );
  late.send = (message) => {
    link.send(message);
    late.bufferedAmount = link.bufferedAmount;
  };
  late.close = () => link.close();
}

const fetcher: Fetcher = async (url, request) => {
  const { status, body } = await fetch(url, { ...request, credentials: "include" });
  return { status, body: chunks(body) };
};

/** Not every browser can iterate over a stream. */
async function* chunks(body: Awaited<ReturnType<typeof fetch>>["body"]): AsyncIterable<Uint8Array> {
  const reader = body?.getReader();
  for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) yield read.value;
}
