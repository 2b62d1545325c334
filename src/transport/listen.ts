import type { Server } from "node:net";

export interface ListenOptions {
  /** 127.0.0.1 unless given. */
  readonly host?: string;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  readonly signal?: AbortSignal;
}

/** Where a server listens. */
export interface Listener {
  readonly host: string;
  readonly port: number;
}

/** Resolves when `server` listens; rejects with the system's error when it cannot. `backlog`: who may wait to be accepted. */
export function listenOn(
  server: Server,
  { host = "127.0.0.1", port = 0, signal }: ListenOptions = {},
  backlog: number = 1_024,
): Promise<Listener> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, backlog, ...(signal !== undefined && { signal }) }, () => {
      server.off("error", reject);
      const at = server.address();
      if (at === null || typeof at === "string")
        reject(new Error("a TCP listener has an address and a port"));
      else resolve({ host: at.address, port: at.port });
    });
  });
}
