import type { Server } from "node:http";
import { isHoldfastError } from "../kernel/index.ts";

/** Accepts nothing more, lets requests under way finish for `graceMs`, then cuts what is left. */
export function stopServer(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      server.closeAllConnections();
      resolve();
      return;
    }
    const cut = setTimeout(() => server.closeAllConnections(), Math.max(0, graceMs));
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** What to say of a request that failed. A store that does not answer must look neither like a logout nor like our mistake. */
export function failureOf(error: unknown): { readonly status: 500 | 503; readonly code: string } {
  return isHoldfastError(error, "store-unavailable")
    ? { status: 503, code: error.code }
    : { status: 500, code: "internal" };
}
