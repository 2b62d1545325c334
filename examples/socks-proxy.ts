// A SOCKS proxy whose relays you can see and end.
//
//   node build/examples/socks-proxy.js        listens on 127.0.0.1:1080, users ann and bob, password "secret"
//   curl -x socks5h://ann:secret@127.0.0.1:1080 https://example.com/
//
// Type `list` to see who is connected to what and how much went through, `revoke ann` to end all that is ann's.
import { createInterface } from "node:readline";
import { createKernel } from "../src/kernel/index.ts";
import { createSocks, hashPassword } from "../src/mechanisms/socks/index.ts";
import { memory } from "../src/store/memory/index.ts";

const kernel = createKernel({ store: memory() });
const socks = createSocks({
  kernel,
  users: [
    { name: "ann", hash: await hashPassword("secret") },
    { name: "bob", hash: await hashPassword("secret") },
  ],
  rules: [
    { action: "deny", principals: ["bob"], ports: [25] },
    // Names and addresses that are public; and this machine's own ports from 8000 on, which are not, and so are named.
    { action: "allow", addresses: ["public"] },
    { action: "allow", addresses: ["loopback"], ports: ["8000-65535"] },
  ],
  limits: { idleMs: 10 * 60_000, connectionsPerPrincipal: 50 },
});
const { host, port } = await socks.listen({ port: Number(process.env["PORT"] ?? 1080) });
console.log(`listening on socks5://${host}:${port}`);

for await (const line of createInterface({ input: process.stdin })) {
  const [command, principal] = line.split(" ");
  if (command === "list") await list();
  else if (command === "revoke" && principal !== undefined) {
    const { settled } = await kernel.revoke({ principal, mechanism: "socks" }, { reason: "asked for" });
    for (const { handle, state } of await settled) console.log(`${handle} ${state}`);
  } else console.log("list | revoke NAME");
}
await socks.drain(5_000);
await kernel.close();

async function list(): Promise<void> {
  const { found } = await kernel.store.list({ term: "m:socks", limit: 100 });
  for (const { record } of found) {
    const { handle, principal, peer, label, checkpoint } = record;
    console.log(`${handle} ${principal} ${peer.address} → ${label} ${checkpoint?.position ?? 0} bytes`);
  }
  console.log(`${found.length} relays`);
}
