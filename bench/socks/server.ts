// The servers the SOCKS benchmark measures, each in a process of its own: node server.js pipe|minimal|holdfast|echo ARGUMENT
import net from "node:net";
import { createKernel } from "../../src/kernel/index.ts";
import { createSocks } from "../../src/mechanisms/socks/index.ts";
import { memory } from "../../src/store/memory/index.ts";

const [kind, argument] = process.argv.slice(2);

switch (kind) {
  case "pipe":
    // The least a relay in Node can be: no protocol, no counts, no limits, always the same destination.
    announce(
      net.createServer({ allowHalfOpen: true }, (near) => {
        const far = net.connect({ host: "127.0.0.1", port: Number(argument), allowHalfOpen: true });
        near.pipe(far).pipe(near);
        near.on("error", () => far.destroy());
        far.on("error", () => near.destroy());
      }),
    );
    break;
  case "minimal":
    // The same with the handshake every client makes, taken on trust: whole messages, an IPv4 address, no failures.
    announce(net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => greet(near)));
    break;
  case "holdfast": {
    const kernel = createKernel({ store: memory() });
    const socks = createSocks({ kernel, rules: [{ action: "allow", addresses: ["loopback"] }] });
    const { port } = await socks.listen();
    process.send?.({ port });
    break;
  }
  case "echo":
    // Sends back what it gets; after the byte G, so many bytes; the byte S swallows everything and answers at the end.
    announce(net.createServer({ allowHalfOpen: true }, (socket) => serve(socket)));
    break;
  default:
    throw new Error(`no such server: ${kind}`);
}
process.on("message", (word) => {
  if (word !== "gc") return;
  globalThis.gc?.();
  process.send?.({ collected: true });
});
process.on("disconnect", () => process.exit());

function announce(server: net.Server): void {
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
    const at = server.address();
    if (at !== null && typeof at !== "string") process.send?.({ port: at.port });
  });
}

function greet(near: net.Socket): void {
  near.on("error", () => near.destroy());
  near.once("data", () => {
    near.once("data", (request: Buffer) => {
      const far = net.connect({
        host: request.subarray(4, 8).join("."),
        port: request.readUInt16BE(8),
        allowHalfOpen: true,
        noDelay: true,
      });
      near.on("error", () => far.destroy());
      far.on("error", () => near.destroy());
      far.once("connect", () => {
        near.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
        near.pipe(far).pipe(near);
      });
    });
    near.write(Buffer.from([5, 0]));
  });
}

function serve(socket: net.Socket): void {
  socket.on("error", () => socket.destroy());
  let mode: "echo" | "swallow" | undefined;
  socket.on("data", (chunk: Buffer) => {
    if (mode === undefined) {
      const first = chunk.toString("latin1", 0, 1);
      mode = first === "S" ? "swallow" : "echo";
      if (first === "G") {
        pour(socket, Number(chunk.toString("latin1", 1)));
        return;
      }
    }
    if (mode === "echo") socket.write(chunk);
  });
  socket.on("end", () => socket.end(mode === "swallow" ? "done" : ""));
}

function pour(socket: net.Socket, bytes: number): void {
  const block = Buffer.alloc(262_144, 0x78);
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const size = Math.min(left, block.length);
      left -= size;
      if (!socket.write(size === block.length ? block : block.subarray(0, size))) {
        socket.once("drain", more);
        return;
      }
    }
    socket.end();
  };
  more();
}
