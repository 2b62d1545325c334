import type { Duplex } from "node:stream";
import { isFault } from "../../wire/index.ts";
import type { ClientHello } from "./codec/client-hello.ts";
import type { Deadlines } from "./deadlines.ts";
import { decodeClientHello } from "./codec/client-hello.ts";

/** A plain connection, as `connection` events give it: a `net.Socket`, or any stream that somebody put there. */
export type Plain = Duplex;

/**
 * Reads the first message of a connection and puts it back. Calls `then` once, with `undefined` when it was too large, too
 * slow or none; never, when the connection was gone before.
 */
export function readHello(
  socket: Plain,
  limits: { readonly deadlines: Deadlines; readonly bytes: number },
  then: (hello: ClientHello | undefined) => void,
): void {
  let held: Buffer = Buffer.alloc(0);
  const late = (): void => done(undefined);
  const done = (hello: ClientHello | undefined): void => {
    leave();
    if (socket.destroyed) return;
    if (held.length > 0) socket.unshift(held);
    then(hello);
  };
  const leave = (): void => {
    limits.deadlines.clear(late);
    socket.off("readable", read);
    socket.off("end", over);
    socket.off("close", over);
  };
  const read = (): void => {
    for (let chunk = chunkOf(socket); chunk !== undefined; chunk = chunkOf(socket)) {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      const hello = decodeClientHello(held, limits.bytes);
      // Records need not carry more than a byte each; a client that does that is not one to put it together for.
      if (hello === "incomplete" && held.length <= limits.bytes + OVERHEAD) continue;
      return done(hello === "incomplete" || isFault(hello) ? undefined : hello);
    }
  };
  /** Nobody will say more. There is no handshake to be had, so there is nobody to tell either. */
  const over = (): void => {
    leave();
    socket.destroy();
  };
  // `close` follows. Once TLS has it, what breaks the connection is told there.
  socket.on("error", () => {});
  limits.deadlines.set(late);
  socket.on("readable", read);
  socket.on("end", over);
  socket.on("close", over);
  read();
}

function chunkOf(socket: Plain): Buffer | undefined {
  const chunk: unknown = socket.read();
  return Buffer.isBuffer(chunk) ? chunk : undefined;
}

const OVERHEAD = 2_048;
