import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import { VirtualClock } from "../../src/kernel/index.ts";
import { ReadPort } from "../../src/transport/read-port.ts";
import type { RelayOptions, RelayOutcome } from "../../src/transport/relay.ts";
import { Relay } from "../../src/transport/relay.ts";
import { fault } from "../../src/wire/index.ts";

interface Stage {
  /** The two ends that talk to each other through the relay. */
  readonly client: net.Socket;
  readonly server: net.Socket;
  readonly relay: Relay;
  readonly clock: VirtualClock;
  readonly outcome: Promise<RelayOutcome>;
}

type Extras = Partial<Omit<RelayOptions, "near" | "far" | "onEnd">> & {
  readonly nearTap?: NonNullable<RelayOptions["near"]["tap"]>;
  readonly early?: Buffer;
  readonly staticReads?: boolean;
};

/** client ⇄ [near relay far] ⇄ server, over real sockets. */
async function stage(t: TestContext, extras: Extras = {}): Promise<Stage> {
  const { nearTap, early, staticReads = true, ...options } = extras;
  const port = staticReads ? new ReadPort() : undefined;
  const [near, client] = await pair(t);
  const [server, far] = await pair(t, port);
  const clock = new VirtualClock();
  let relay: Relay | undefined;
  const outcome = new Promise<RelayOutcome>((resolve) => {
    relay = new Relay({
      near: { socket: near, ...(nearTap && { tap: nearTap }), ...(early && { early }) },
      far: { socket: far, ...(port && { port }) },
      clock,
      ...options,
      onEnd: resolve,
    });
  });
  if (relay === undefined) throw new Error("the relay begins at once");
  return { client, server, relay, clock, outcome };
}

/** An accepted socket and the one that connected to it. */
async function pair(t: TestContext, port?: ReadPort): Promise<[accepted: net.Socket, connected: net.Socket]> {
  const listener = net.createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  const at = listener.address();
  if (at === null || typeof at === "string") throw new Error("not a TCP listener");
  const accepting = once(listener, "connection");
  const connected = net.connect({
    port: at.port,
    host: "127.0.0.1",
    allowHalfOpen: true,
    ...(port && { onread: port.onread }),
  });
  const [accepted] = (await accepting) as [net.Socket];
  if (connected.connecting) await once(connected, "connect");
  listener.close();
  for (const socket of [accepted, connected]) {
    socket.on("error", () => socket.destroy());
    t.after(() => socket.destroy());
  }
  return [accepted, connected];
}

/** All that comes until the end; the socket stays open for writing. */
async function allOf(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  socket.resume();
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** Resolves with the error code, or `undefined` for an orderly end. */
function fate(socket: net.Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let code: string | undefined;
    socket.on("error", (error: NodeJS.ErrnoException) => (code = error.code));
    socket.on("end", () => socket.end());
    socket.on("close", () => resolve(code));
    socket.resume();
  });
}

function patterned(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at++) bytes[at] = (at * 7 + (at >> 8)) & 0xff;
  return bytes;
}

describe("a relay", () => {
  for (const staticReads of [true, false]) {
    const how = staticReads ? "static read buffers" : "data events";
    it(`passes both ways what it gets, a half-close as one, and counts exactly (${how})`, async (t) => {
      const { client, server, outcome } = await stage(t, { staticReads });
      const [up, down] = [patterned(3_000_001), patterned(5_000_003)];
      const heard = allOf(server).then((bytes) => {
        // Only now, when the client has said everything, does the server speak.
        server.end(down);
        return bytes;
      });
      client.end(up);
      assert.ok((await allOf(client)).equals(down));
      assert.ok((await heard).equals(up));
      assert.deepEqual(await outcome, { reason: "finished", bytesUp: up.length, bytesDown: down.length });
    });

    it(`holds a fast sender back while the receiver does not read (${how})`, async (t) => {
      const { client, server, relay, outcome } = await stage(t, { staticReads });
      const all = patterned(64 * 1_048_576);
      client.pause();
      server.write(all);
      server.end();
      let before = -1;
      while (relay.bytesDown !== before || before === 0) {
        before = relay.bytesDown;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.ok(before < all.length / 2, `${before} of ${all.length} bytes were taken with nobody reading`);
      const heard = allOf(client);
      assert.ok((await heard).equals(all));
      client.end();
      assert.equal((await outcome).bytesDown, all.length);
    });
  }

  it("begins with what was read already, and loses nothing that came before it stood", async (t) => {
    const port = new ReadPort();
    const [near, client] = await pair(t);
    const [server, far] = await pair(t, port);
    server.write("banner ");
    await new Promise((resolve) => setTimeout(resolve, 20));
    server.write("and more");
    const relay = new Relay({
      near: { socket: near, early: Buffer.from("early ") },
      far: { socket: far, port },
      clock: new VirtualClock(),
      onEnd: () => {},
    });
    client.end("late");
    assert.equal(String(await allOf(server)), "early late");
    server.end();
    assert.equal(String(await allOf(client)), "banner and more");
    assert.equal(relay.bytesUp, 10);
  });

  it("passes a reset on as a reset, so that a cut stream does not look complete", async (t) => {
    const { client, server, outcome } = await stage(t);
    server.write("half of i");
    await once(client, "data");
    const clientsFate = fate(client);
    server.resetAndDestroy();
    assert.equal(await clientsFate, "ECONNRESET");
    const { reason, by, why } = await outcome;
    assert.deepEqual({ reason, by, why }, { reason: "reset", by: "far", why: "ECONNRESET" });
  });

  it("closes both sides at once when told to", async (t) => {
    const { client, server, relay, outcome } = await stage(t);
    const fates = Promise.all([fate(client), fate(server)]);
    relay.abort("revoked");
    relay.abort("twice does no harm");
    assert.deepEqual(await fates, ["ECONNRESET", "ECONNRESET"]);
    assert.deepEqual(await outcome, { reason: "aborted", why: "revoked", bytesUp: 0, bytesDown: 0 });
  });

  it("whose side was closed before it began ends at once", async (t) => {
    const [near] = await pair(t);
    const [, far] = await pair(t);
    far.destroy();
    await once(far, "close");
    const outcome = await new Promise<RelayOutcome>((resolve) => {
      new Relay({ near: { socket: near }, far: { socket: far }, clock: new VirtualClock(), onEnd: resolve });
    });
    assert.equal(outcome.reason, "reset");
    assert.equal(outcome.by, "far");
  });
});

describe("limits of a relay", () => {
  it("idle: ends it when neither side has said anything for so long, and not before", async (t) => {
    const { client, server, clock, outcome, relay } = await stage(t, { idleMs: 1_000 });
    clock.advance(900);
    client.write("x");
    await once(server, "data");
    clock.advance(900);
    server.write("y");
    await once(client, "data");
    clock.advance(999);
    assert.equal(relay.over, false);
    clock.advance(1);
    assert.deepEqual(await outcome, { reason: "idle-expired", bytesUp: 1, bytesDown: 1 });
  });

  it("absolute: ends it however busy it is", async (t) => {
    const clock = new VirtualClock();
    const { client, server, outcome, relay } = await stage(t, {
      clock,
      idleMs: 600,
      absoluteAt: clock.now() + 1_000,
    });
    clock.advance(500);
    client.write("x");
    await once(server, "data");
    clock.advance(499);
    assert.equal(relay.over, false);
    clock.advance(1);
    assert.equal((await outcome).reason, "absolute-expired");
  });

  it("bytes: exactly so many are delivered, then it ends", async (t) => {
    const { client, server, outcome } = await stage(t, { maxBytes: 100_000 });
    let got = 0;
    server.on("data", (chunk: Buffer) => (got += chunk.length));
    const fates = Promise.all([fate(client), fate(server)]);
    client.write(patterned(150_000));
    const { reason, bytesUp, bytesDown } = await outcome;
    assert.deepEqual(
      { reason, bytesUp, bytesDown },
      { reason: "byte-limit", bytesUp: 100_000, bytesDown: 0 },
    );
    await fates;
    assert.equal(got, 100_000);
  });
});

describe("a tap", () => {
  it("sees what comes from its side, and says what is passed on", async (t) => {
    const seen: string[] = [];
    const nearTap = (chunk: Buffer): Buffer => {
      seen.push(String(chunk));
      return Buffer.from(String(chunk).replaceAll("-", ""));
    };
    const { client, server, relay, outcome } = await stage(t, { nearTap, early: Buffer.from("-early-") });
    client.end("l-a-t-e");
    assert.equal(String(await allOf(server)), "earlylate");
    server.end();
    client.resume();
    assert.equal((await outcome).bytesUp, 9, "what is passed on is counted");
    assert.equal(seen.join(""), "-early-l-a-t-e");
    assert.equal(relay.over, false, "it was never cut");
  });

  it("that finds a fault ends the relay with it", async (t) => {
    const { client, outcome } = await stage(t, { nearTap: () => fault("malformed", 0, "not in this house") });
    client.write("x");
    const { reason, by, why, bytesUp } = await outcome;
    assert.deepEqual([reason, by, why, bytesUp], ["protocol-error", "near", "not in this house", 0]);
  });

  it("has a way to say something itself", async (t) => {
    const { client, server, relay } = await stage(t);
    relay.inject("far", Buffer.from("keepalive"));
    const [heard] = await once(client, "data");
    assert.equal(String(heard), "keepalive");
    assert.equal(relay.bytesDown, 0, "it is not the other side's");
    server.destroy();
  });
});
