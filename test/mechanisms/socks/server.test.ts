import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import type { Kernel, SessionRecord } from "../../../src/kernel/index.ts";
import { createKernel, HoldfastError, VirtualClock } from "../../../src/kernel/index.ts";
import type { SocksOptions } from "../../../src/mechanisms/socks/index.ts";
import {
  associate,
  createSocks,
  dial,
  hashPassword,
  ProxyError,
} from "../../../src/mechanisms/socks/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import {
  closedPort,
  echo,
  kept,
  oneSession,
  RawClient,
  scene,
  sessionsOf,
  tcpServer,
  until,
} from "./scene.ts";

/** Says something through the proxy and hears it back. */
async function exchanged(socket: net.Socket, text = "ping"): Promise<void> {
  socket.write(text);
  let heard = "";
  while (heard.length < text.length) heard += String((await once(socket, "data"))[0]);
  assert.equal(heard, text);
}

function dialled(
  t: TestContext,
  port: number,
  to: number,
  who?: { username: string; password: string },
): Promise<net.Socket> {
  const proxy = { protocol: "socks5", host: "127.0.0.1", port, ...who } as const;
  return dial({ proxy, host: "127.0.0.1", port: to }).then(({ socket }) => {
    return kept(t, socket);
  });
}

async function replyOf(
  port: number,
  host: string,
  to: number,
  who?: { username: string; password: string },
): Promise<string> {
  try {
    const proxy = { protocol: "socks5", host: "127.0.0.1", port, ...who } as const;
    const { socket } = await dial({ proxy, host, port: to });
    socket.destroy();
    return "granted";
  } catch (error) {
    if (error instanceof ProxyError) return error.reply ?? error.code;
    throw error;
  }
}

async function lastEntry(kernel: Kernel, record: SessionRecord, event: string): Promise<unknown> {
  const timeline = await kernel.store.timeline(record.handle);
  return timeline.findLast((entry) => entry.event === event)?.detail;
}

describe("a relay is a session", () => {
  it("with its principal, addresses and destination, live byte counts, and exact ones at its end", async (t) => {
    const users = [{ name: "ann", hash: await hashPassword("secret") }];
    const { kernel, port, faults } = await scene(t, { users, countsEveryMs: 20 });
    const target = await tcpServer(t, echo);
    const socket = await dialled(t, port, target, { username: "ann", password: "secret" });
    const record = await oneSession(kernel);
    assert.equal(record.mechanism, "socks");
    assert.equal(record.mode, "full-duplex");
    assert.equal(record.state, "established");
    assert.equal(record.principal, "ann");
    assert.deepEqual(record.peer, { address: "127.0.0.1", agent: "SOCKS5" });
    assert.equal(record.label, `127.0.0.1:${target}`);
    assert.deepEqual(record.authentication?.amr, ["pwd"]);
    assert.equal(record.owner?.node, kernel.node);
    await exchanged(socket, "x".repeat(1_000));
    await until("the counts are seen", async () => (await oneSession(kernel)).checkpoint?.position === 2_000);
    assert.deepEqual((await oneSession(kernel)).checkpoint?.note, { up: 1_000, down: 1_000 });
    await exchanged(socket, "y".repeat(17));
    socket.end();
    const ended = await oneSession(kernel, "ended");
    assert.equal(ended.ended?.reason, "finished");
    assert.equal(ended.checkpoint?.position, 2_034);
    assert.deepEqual(await lastEntry(kernel, ended, "end"), {
      reason: "finished",
      carriedBy: kernel.node,
      up: 1_017,
      down: 1_017,
    });
    assert.deepEqual(faults, []);
  });

  it("whose packets are no writes to the store until its counts are due", async (t) => {
    const { kernel, port } = await scene(t, { countsEveryMs: 600_000 });
    const socket = await dialled(t, port, await tcpServer(t, echo));
    for (let packet = 0; packet < 200; packet++) await exchanged(socket);
    socket.end();
    const ended = await oneSession(kernel, "ended");
    const events = (await kernel.store.timeline(ended.handle)).map((entry) => entry.event);
    assert.deepEqual(events, ["begin", "establish", "end"]);
    const detail = { reason: "finished", carriedBy: kernel.node, up: 800, down: 800 };
    assert.deepEqual(await lastEntry(kernel, ended, "end"), detail);
  });

  it("revoke closes both legs at once, with a receipt, and the last bytes are counted", async (t) => {
    const { kernel, port, socks } = await scene(t);
    const legs: Promise<unknown>[] = [];
    const target = await tcpServer(t, (far) => {
      legs.push(new Promise((closed) => far.on("close", closed)));
      echo(far);
    });
    const socket = await dialled(t, port, target);
    await exchanged(socket);
    legs.push(new Promise((closed) => socket.on("close", closed)));
    const record = await oneSession(kernel);
    const revocation = await kernel.revoke({ mechanism: "socks" }, { reason: "test" });
    await Promise.all(legs);
    const [receipt] = await revocation.settled;
    assert.equal(receipt?.state, "closed");
    const ended = await oneSession(kernel, "ended");
    assert.equal(ended.ended?.reason, "revoked");
    await until(
      "the last bytes are noted",
      async () => (await lastEntry(kernel, record, "note")) !== undefined,
    );
    assert.deepEqual(await lastEntry(kernel, record, "note"), { up: 4, down: 4, why: "revoked" });
    assert.equal(socks.connections, 0);
  });

  it("revoke ends an association as well", async (t) => {
    const { kernel, port } = await scene(t);
    const udp = await associate({ proxy: `socks5://127.0.0.1:${port}` });
    assert.equal((await oneSession(kernel)).label, "udp");
    const closed = new Promise<void>((resolve) => udp.on("close", resolve));
    await kernel.revoke({ mechanism: "socks" }, { reason: "test" });
    await closed;
  });

  it("a lock refuses new ones, in the protocol's words", async (t) => {
    const { kernel, port } = await scene(t);
    const target = await tcpServer(t, echo);
    const { barrier } = await kernel.lock({ selector: { mechanism: "socks" }, reason: "maintenance" });
    assert.equal(await replyOf(port, "127.0.0.1", target), "not-allowed");
    await kernel.unlock(barrier.id);
    assert.equal(await replyOf(port, "127.0.0.1", target), "granted");
  });

  it("a store that is down refuses, and is reported", async (t) => {
    const store = memory();
    const kernel = createKernel({ store });
    const { port, faults } = await scene(t, { kernel });
    const target = await tcpServer(t, echo);
    const down = new HoldfastError("store-unavailable", "The store is down.");
    t.mock.method(store, "create", () => Promise.reject(down));
    assert.equal(await replyOf(port, "127.0.0.1", target), "general-failure");
    assert.deepEqual(faults, [down]);
    t.mock.restoreAll();
    assert.equal(await replyOf(port, "127.0.0.1", target), "granted");
  });

  it("an end that the store does not take is written when it takes it again", async (t) => {
    const store = memory();
    const kernel = createKernel({ store });
    const { port, faults } = await scene(t, { kernel, countsEveryMs: 10 });
    const socket = await dialled(t, port, await tcpServer(t, echo));
    await exchanged(socket);
    await until("the counts are written", async () => (await oneSession(kernel)).checkpoint?.position === 8);
    t.mock.method(store, "update", () => Promise.reject(new HoldfastError("store-unavailable", "down")));
    socket.end();
    await until("it was tried", () => faults.length > 1);
    t.mock.restoreAll();
    assert.equal((await oneSession(kernel, "ended")).ended?.reason, "finished");
  });
});

describe("limits", () => {
  async function inVirtualTime(
    t: TestContext,
    limits: SocksOptions["limits"],
  ): Promise<{ clock: VirtualClock; kernel: Kernel; port: number }> {
    const clock = new VirtualClock();
    const kernel = createKernel({ store: memory({ clock }), clock });
    const { port } = await scene(t, { kernel, ...(limits && { limits }) });
    return { clock, kernel, port };
  }

  it("idle, absolute and bytes end a session with reasons of their own", async (t) => {
    const target = await tcpServer(t, echo);
    for (const [limits, advanceMs, reason] of [
      [{ idleMs: 60_000 }, 60_000, "idle-expired"],
      [{ absoluteMs: 90_000, idleMs: Infinity }, 90_000, "absolute-expired"],
      [{ maxBytes: 6 }, 0, "byte-limit"],
    ] as const) {
      const { clock, kernel, port } = await inVirtualTime(t, limits);
      const socket = await dialled(t, port, target);
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.on("end", () => socket.end());
      socket.write("ping");
      let got = 0;
      socket.on("data", (chunk: Buffer) => (got += chunk.length));
      await oneSession(kernel);
      await until("something came", () => got > 0);
      clock.advance(advanceMs);
      await closed;
      const ended = await oneSession(kernel, "ended");
      assert.equal(ended.ended?.reason, reason);
      if (reason !== "byte-limit") continue;
      assert.equal(got, 2, "exactly six bytes in all: four up, two down");
      assert.deepEqual(await lastEntry(kernel, ended, "end"), {
        reason,
        carriedBy: kernel.node,
        up: 4,
        down: 2,
      });
    }
  });

  it("an association has them too", async (t) => {
    const { clock, kernel, port } = await inVirtualTime(t, { idleMs: 60_000 });
    const udp = await associate({ proxy: `socks5://127.0.0.1:${port}` });
    const closed = new Promise<void>((resolve) => udp.on("close", resolve));
    await oneSession(kernel);
    clock.advance(60_000);
    await closed;
    assert.equal((await oneSession(kernel, "ended")).ended?.reason, "idle-expired");
  });

  it("a principal has so many relays and no more, and one that ends makes room", async (t) => {
    const users = [{ name: "ann", hash: await hashPassword("secret") }];
    const { port, socks } = await scene(t, { users, limits: { connectionsPerPrincipal: 2 } });
    const target = await tcpServer(t, echo);
    const ann = { username: "ann", password: "secret" };
    const [first] = await Promise.all([dialled(t, port, target, ann), dialled(t, port, target, ann)]);
    assert.equal(await replyOf(port, "127.0.0.1", target, ann), "not-allowed");
    first?.destroy();
    await until("the first is gone", () => socks.sessions === 1 && socks.connections <= 2);
    assert.equal(await replyOf(port, "127.0.0.1", target, ann), "granted");
  });

  it("there are so many connections and no more", async (t) => {
    const { port, socks } = await scene(t, { limits: { connections: 2 } });
    await RawClient.open(t, port);
    const second = await RawClient.open(t, port);
    await until("both are counted", () => socks.connections === 2);
    const third = net.connect(port, "127.0.0.1").on("error", () => third.destroy());
    await new Promise((closed) => third.on("close", closed));
    assert.equal(socks.refused, 1);
    second.socket.destroy();
    await until("one has gone", () => socks.connections === 1);
    const again = await RawClient.open(t, port);
    assert.equal(await again.say("050100").hex(2), "0500");
  });

  it("a client that sends on and on before its turn is not read on and on", async (t) => {
    let answer: (hosts: string[]) => void = () => {};
    const resolve = (): Promise<string[]> => new Promise((resolved) => (answer = resolved));
    const { port } = await scene(t, { resolve });
    const target = await tcpServer(t, (socket) => {
      let size = 0;
      socket.on("data", (chunk: Buffer) => (size += chunk.length));
      socket.on("end", () => socket.end(String(size)));
    });
    const client = await RawClient.open(t, port);
    const name = Buffer.from("a.example").toString("hex");
    client.say(`050100 05010003 09 ${name} ${target.toString(16).padStart(4, "0")}`);
    const flood = Buffer.alloc(32 * 1_048_576, 0x78);
    client.socket.end(flood);
    // Nobody reads, so what the client can get rid of is what the system's buffers hold.
    await new Promise((resolved) => setTimeout(resolved, 200));
    assert.ok(client.socket.writableLength > flood.length / 4, "the flood is still with the client");
    answer(["127.0.0.1"]);
    await client.read(12);
    assert.equal(String(await client.rest()), String(flood.length), "and afterwards all of it comes through");
  });
});

describe("rules", () => {
  const resolving = (table: Readonly<Record<string, string[]>>): Pick<SocksOptions, "resolve"> => ({
    resolve: (name) => Promise.resolve(table[name] ?? []),
  });

  it("without any, loopback and private addresses are out of reach, by number and by name", async (t) => {
    const kernel = createKernel({ store: memory() });
    const socks = createSocks({
      kernel,
      ...resolving({ "rebound.example": ["127.0.0.1", "10.0.0.1", "169.254.169.254"] }),
    });
    t.after(() => socks.close().then(() => kernel.close()));
    const { port } = await socks.listen();
    const target = await tcpServer(t, echo);
    for (const host of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "10.0.0.1", "rebound.example"]) {
      assert.equal(await replyOf(port, host, target), "not-allowed", host);
    }
  });

  it("a name that points at several addresses reaches only the allowed ones", async (t) => {
    const target = await tcpServer(t, echo);
    const { port } = await scene(t, {
      rules: [{ action: "allow", names: ["*.example"], addresses: ["127.0.0.1/32"] }],
      ...resolving({ "mixed.example": ["10.255.255.1", "127.0.0.1"], "other.test": ["127.0.0.1"] }),
    });
    assert.equal(await replyOf(port, "mixed.example", target), "granted");
    assert.equal(await replyOf(port, "other.test", target), "not-allowed");
    assert.equal(await replyOf(port, "127.0.0.1", target), "not-allowed", "the rule is about names");
  });

  it("what was checked is what is connected to: the name is resolved once", async (t) => {
    const target = await tcpServer(t, echo);
    let asked = 0;
    const resolve = (): Promise<string[]> => Promise.resolve(asked++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"]);
    const { port } = await scene(t, { resolve });
    assert.equal(await replyOf(port, "flips.example", target), "granted");
    assert.equal(asked, 1);
  });

  it("the first that matches decides, by principal, port and command", async (t) => {
    const target = await tcpServer(t, echo);
    const users = [
      { name: "ann", hash: await hashPassword("a") },
      { name: "bob", hash: await hashPassword("b") },
    ];
    const { port } = await scene(t, {
      users,
      rules: [
        { action: "deny", principals: ["bob"], ports: [target] },
        { action: "deny", commands: ["associate"] },
        { action: "allow", principals: ["*"], addresses: ["loopback"] },
      ],
    });
    const ann = { username: "ann", password: "a" };
    assert.equal(await replyOf(port, "127.0.0.1", target, ann), "granted");
    assert.equal(await replyOf(port, "127.0.0.1", target, { username: "bob", password: "b" }), "not-allowed");
    const other = await closedPort();
    assert.equal(
      await replyOf(port, "127.0.0.1", other, { username: "bob", password: "b" }),
      "connection-refused",
    );
    assert.equal(
      await replyOf(port, "127.0.0.1", target, { username: "ann", password: "b" }),
      "proxy-authentication",
    );
  });

  it("that make no sense are refused when the server is made", () => {
    const kernel = createKernel({ store: memory() });
    for (const options of [
      { rules: [{ action: "allow", addresses: ["nowhere"] }] },
      { rules: [{ action: "allow", ports: ["80-70"] }] },
      { users: [{ name: "a", hash: "plain text" }] },
      { limits: { idleMs: 0 } },
      { upstream: "ftp://x" },
    ] satisfies Omit<SocksOptions, "kernel">[]) {
      assert.throws(
        () => createSocks({ kernel, ...options }),
        { code: "invalid-argument" },
        JSON.stringify(options),
      );
    }
  });

  it("a callback may decide who comes, also by a SOCKS4 user ID", async (t) => {
    const target = await tcpServer(t, echo);
    const { kernel, port } = await scene(t, {
      authenticate: (credentials) =>
        credentials.method === "user-id" && credentials.userId === "ann"
          ? { principal: "ann", roles: ["staff"] }
          : undefined,
    });
    const proxy = { protocol: "socks4", host: "127.0.0.1", port } as const;
    await assert.rejects(dial({ proxy: { ...proxy, username: "bob" }, host: "127.0.0.1", port: target }), {
      code: "proxy-authentication",
    });
    const { socket } = await dial({ proxy: { ...proxy, username: "ann" }, host: "127.0.0.1", port: target });
    kept(t, socket);
    const record = await oneSession(kernel);
    assert.deepEqual([record.principal, record.roles], ["ann", ["staff"]]);
  });
});

describe("closing", () => {
  it("drain lets relays finish, takes no new ones, and leaves nothing behind", async (t) => {
    const { kernel, port, socks } = await scene(t);
    const socket = await dialled(t, port, await tcpServer(t, echo));
    const half = await RawClient.open(t, port);
    half.say("05");
    await until("both are there", () => socks.connections === 2);
    const drained = socks.drain(60_000);
    await assert.rejects(dialled(t, port, port), { code: "proxy-unreachable" });
    await exchanged(socket);
    socket.end();
    await drained;
    assert.equal((await oneSession(kernel, "ended")).ended?.reason, "finished");
    assert.deepEqual(await sessionsOf(kernel), []);
  });

  it("drain closes what does not finish in time", async (t) => {
    const { kernel, port, socks } = await scene(t);
    const socket = await dialled(t, port, await tcpServer(t, echo));
    const closed = new Promise((resolve) => socket.on("close", resolve));
    await socks.drain(50);
    await closed;
    const ended = await oneSession(kernel, "ended");
    assert.deepEqual([ended.ended?.reason, ended.ended?.by], ["evicted", "holdfast"]);
    await assert.rejects(socks.listen(), { code: "invalid-argument" });
  });
});
