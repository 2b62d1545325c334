import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

/**
 * Many quiet clients and the backend they are led to, in a process of their own. Says its backend's port, then takes
 * lines: `open COUNT PORT HEX` connects so many clients that say only that, `close` closes them.
 */
const clients = new Set<Socket>();
const backend = createServer((socket) => {
  socket.on("error", () => socket.destroy());
  socket.resume();
}).listen(0, "127.0.0.1");
await once(backend, "listening");
const at = backend.address();
process.stdout.write(`${typeof at === "object" && at !== null ? at.port : 0}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const [word, count, port, hex] = line.split(" ");
  if (word === "close") for (const socket of clients) socket.destroy();
  for (let made = 0; word === "open" && made < Number(count); made += 100) {
    const batch = Array.from({ length: Math.min(100, Number(count) - made) }, () =>
      open(Number(port), hex ?? ""),
    );
    await Promise.all(batch);
  }
  process.stdout.write("done\n");
}
process.exit(0);

async function open(port: number, hex: string): Promise<void> {
  const socket = connect({ host: "127.0.0.1", port });
  clients.add(socket);
  socket.on("close", () => clients.delete(socket));
  socket.resume();
  await once(socket, "connect");
  socket.on("error", () => socket.destroy());
  socket.write(Buffer.from(hex, "hex"));
}
