/** One node of several over a shared store: `node.js STORE ADDRESS`. Does over IPC what it is told. */
import { createKernel } from "../../src/kernel/index.ts";
import { nearCache } from "../../src/store/near/index.ts";
import { openStore } from "./stores.ts";

export type Order =
  | { readonly do: "login"; readonly principal: string }
  | { readonly do: "check"; readonly secret: string }
  /** Looks the secret up again and again until it is refused. */
  | { readonly do: "watch"; readonly secret: string }
  | { readonly do: "revoke"; readonly principal: string };

const [kind = "", address = ""] = process.argv.slice(2);
const store = nearCache(openStore(kind, address));
const kernel = createKernel({ store });
await kernel.start();

async function obey(order: Order): Promise<object> {
  if (order.do === "login") {
    const { secret } = await kernel.establish({
      mechanism: "web",
      mode: "request-response",
      principal: order.principal,
    });
    return { secret: secret?.reveal() };
  }
  if (order.do === "check") return { good: (await kernel.verify(order.secret)) !== undefined };
  if (order.do === "revoke") {
    const at = process.hrtime.bigint();
    await kernel.revoke({ principal: order.principal }, { reason: "benchmark" });
    return { at: String(at), done: String(process.hrtime.bigint()) };
  }
  const giveUp = process.hrtime.bigint() + 5_000_000_000n;
  process.send?.({ watching: true });
  while ((await kernel.verify(order.secret)) !== undefined) {
    if (process.hrtime.bigint() > giveUp) return { refusedAt: null };
    // Once a millisecond: asking without a pause would take the processor from the store it waits for.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return { refusedAt: String(process.hrtime.bigint()) };
}

process.on("message", (order: Order) => {
  void obey(order).then((answer) => process.send?.(answer));
});
process.on("disconnect", () => process.exit(0));
process.send?.({ ready: true });
