// The server's side of every protocol, in a process of its own.
import type { Kind } from "./peers.ts";
import { serve } from "./peers.ts";
import type { Heard, Talker } from "./talk.ts";
import { Ear, sendAll, until } from "./talk.ts";

export type Order =
  | { readonly do: "serve"; readonly kind: Kind }
  /** What comes from now on is counted, and so many are sent, or none; `echo` answers instead. */
  | { readonly do: "talk"; readonly count: number; readonly echo: boolean; readonly perSecond?: number }
  | { readonly do: "result"; readonly withinMs: number };

export type Answer =
  | { readonly port: number }
  | { readonly talking: true }
  | { readonly sent: true; readonly rssBytes: number }
  | { readonly heard: Heard; readonly heapBytes: number };

let talker: Talker | undefined;
let ear = new Ear(0);

process.on("message", (order: Order) => void obey(order));
process.on("disconnect", () => process.exit(0));

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case "serve": {
      const port = await serve(order.kind, (arrived) => {
        talker = arrived;
        return () => ear;
      });
      return answer({ port });
    }
    case "talk": {
      await until("a client", () => talker !== undefined);
      const to = talker;
      if (to === undefined) return;
      ear = new Ear(order.count);
      if (order.echo) ear.heard = (bytes) => void to.send(bytes);
      answer({ talking: true });
      if (order.echo) return;
      await sendAll(to, order.count, order.perSecond);
      return answer({ sent: true, rssBytes: rss() });
    }
    case "result":
      await until("everything", () => ear.complete, order.withinMs).catch(() => undefined);
      return answer({ heard: ear.result(), heapBytes: heap() });
  }
}

function rss(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}

/** What is in use, not what the process has been given for it. */
function heap(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function answer(what: Answer): void {
  process.send?.(what);
}
