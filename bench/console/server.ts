import { connection } from "../../test/console/scenes.ts";
import { startHarness } from "../../test/console/harness.ts";

const harness = await startHarness({ people: 0 });
await harness.crowd(10_000);
const calm = harness.churn(1_000);

process.on("message", (order: { what: "calm" | "person"; principal?: string }) => {
  void obey(order).then(() => process.send?.({ done: true }));
});
process.send?.({ link: await harness.link() });

async function obey({
  what,
  principal = "",
}: {
  what: "calm" | "person";
  principal?: string;
}): Promise<void> {
  if (what === "calm") calm();
  else
    for (let i = 0; i < 15; i++) {
      const kernel = harness.nodes[i % harness.nodes.length] ?? harness.kernel;
      const mechanism = ["web", "dialog", "socks", "netbios", "transfer"][i % 5] ?? "web";
      const { record } = await kernel.establish({
        mechanism,
        mode: "full-duplex",
        principal,
        own: true,
        credential: false,
      });
      await kernel.attach(record, connection());
    }
}
