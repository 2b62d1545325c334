import type { Socket } from "node:net";
import { createServer } from "node:net";
import { listenOn } from "../../transport/listen.ts";

/** A service on the loopback that says back what it hears. */
export interface Echo {
  readonly port: number;
  close(): Promise<void>;
}

export async function startEcho(): Promise<Echo> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    // Whoever breaks off is what the demo's sessions tell of, not the echo.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
    socket.pipe(socket);
  });
  const { port } = await listenOn(server);
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
