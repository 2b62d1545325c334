import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect, createServer } from "node:net";
import { test } from "node:test";
import { systemClock } from "../../src/kernel/index.ts";
import type { RelayOutcome } from "../../src/transport/relay.ts";
import { Relay } from "../../src/transport/relay.ts";

test("a relay that is cut while a half-close is on its way out still closes both sockets", async () => {
  const [client, near] = await pair();
  const [far, backend] = await pair();
  const ended = new Promise<RelayOutcome>((resolve) => {
    const relay = new Relay({
      near: { socket: near },
      far: { socket: far },
      clock: systemClock,
      onEnd: resolve,
    });
    // The relay passes the half-close on in the same turn; the system has not done it two ticks later.
    near.once("end", () => process.nextTick(() => process.nextTick(() => relay.abort("test"))));
  });
  const late = new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 20_000).unref());
  client.end();
  const outcome = await Promise.race([ended, late]);
  client.destroy();
  backend.destroy();
  assert.equal(outcome?.reason, "aborted");
});

async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const at = server.address();
  assert.ok(at !== null && typeof at !== "string");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const mine = connect({ port: at.port, host: "127.0.0.1", allowHalfOpen: true });
  const [theirs] = await accepted;
  for (const socket of [mine, theirs]) socket.on("error", () => {});
  server.close();
  return [mine, theirs];
}
