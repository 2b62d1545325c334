import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import { hashPassword } from "../../../src/mechanisms/socks/index.ts";
import { BAD_REQUESTS } from "../../vectors/socks.ts";
import type { Scene } from "./scene.ts";
import { closedPort, echo, kept, portHex, RawClient, scene, tcpServer, until } from "./scene.ts";

const LOOPBACK = "7f000001";
const REFUSED = /^05(0[1-8])0001000000000000$/;

/** A client that has greeted without a password. */
async function greeted(t: TestContext, port: number): Promise<RawClient> {
  const client = await RawClient.open(t, port);
  client.say("050100");
  assert.equal(await client.hex(2), "0500");
  return client;
}

/** Reads a reply to an IPv4 request that must say yes, and gives its BND.PORT. */
async function granted(client: RawClient): Promise<number> {
  const reply = await client.hex(10);
  assert.match(reply, /^050000017f000001[0-9a-f]{4}$/);
  const port = Number.parseInt(reply.slice(-4), 16);
  assert.notEqual(port, 0, "BND.PORT is a real port");
  return port;
}

/** Reads a complete failure reply, and sees the connection closed behind it. */
async function refused(client: RawClient, code: string): Promise<void> {
  const reply = await client.hex(10);
  assert.match(reply, REFUSED);
  assert.equal(reply.slice(2, 4), code);
  assert.equal((await client.rest()).length, 0, "nothing comes behind the reply but the end");
}

async function ping(client: RawClient): Promise<void> {
  client.say(Buffer.from("ping"));
  assert.equal(String(await client.read(4)), "ping");
}

describe("SOCKS5 CONNECT, byte for byte", () => {
  it("1: an IPv4 address; BND.PORT is the port the destination sees", async (t) => {
    const seen: (number | undefined)[] = [];
    const target = await tcpServer(t, (socket) => {
      seen.push(socket.remotePort);
      echo(socket);
    });
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010001 ${LOOPBACK} ${portHex(target)}`);
    const bound = await granted(client);
    await ping(client);
    assert.deepEqual(seen, [bound]);
  });

  it("2: a name", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010003 09 6c6f63616c686f7374 ${portHex(await tcpServer(t, echo))}`);
    await granted(client);
    await ping(client);
  });

  it("3: a dotted quad sent as a name", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010003 09 3132372e302e302e31 ${portHex(await tcpServer(t, echo))}`);
    await granted(client);
    await ping(client);
  });

  it("4: an IPv6 address; the reply carries an IPv6 address", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010004 00000000000000000000000000000001 ${portHex(await tcpServer(t, echo, "::1"))}`);
    assert.match(await client.hex(22), /^0500000400000000000000000000000000000001[0-9a-f]{4}$/);
    await ping(client);
  });

  it("5: byte by byte", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    await client.drip("050100");
    assert.equal(await client.hex(2), "0500");
    await client.drip(
      `0501000309${Buffer.from("localhost").toString("hex")}${portHex(await tcpServer(t, echo))}`,
    );
    await granted(client);
    await ping(client);
  });

  it("6: greeting, request and data in one packet", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    const early = Buffer.from("early").toString("hex");
    client.say(`050100 05010001 ${LOOPBACK} ${portHex(await tcpServer(t, echo))} ${early}`);
    assert.equal(await client.hex(2), "0500");
    await granted(client);
    assert.equal(String(await client.read(5)), "early");
  });

  it("7: all 255 methods offered", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    client.say(`05ff${Buffer.from(Array.from({ length: 255 }, (_, at) => at)).toString("hex")}`);
    assert.equal(await client.hex(2), "0500");
  });

  it("8: no method that will do", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    assert.equal((await client.say("05017f").rest()).toString("hex"), "05ff");
  });

  it("9: no method at all", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    assert.equal((await client.say("0500").rest()).toString("hex"), "05ff");
  });

  it("10: another protocol's version is closed without a word", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    assert.equal((await client.say(BAD_REQUESTS.version).rest()).toString("hex"), "");
  });

  it("11: an unknown command", async (t) => {
    const { port } = await scene(t);
    await refused((await greeted(t, port)).say(BAD_REQUESTS.command), "07");
  });

  it("12: an unknown address type", async (t) => {
    const { port } = await scene(t);
    await refused((await greeted(t, port)).say(BAD_REQUESTS.addressType), "08");
  });

  it("13: something in the reserved byte does not matter", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010101 ${LOOPBACK} ${portHex(await tcpServer(t, echo))}`);
    await granted(client);
    await ping(client);
  });

  it("14: a closed port is a connection refused", async (t) => {
    const { port } = await scene(t);
    await refused((await greeted(t, port)).say(`05010001 ${LOOPBACK} ${portHex(await closedPort())}`), "05");
  });

  it("15: a name that does not resolve is a host that cannot be reached", async (t) => {
    const { port } = await scene(t, { resolve: () => Promise.resolve([]) });
    const name = Buffer.from("no-such-host.invalid").toString("hex");
    await refused((await greeted(t, port)).say(`05010003 14 ${name} 0050`), "04");
  });

  it("16: an empty name", async (t) => {
    const { port } = await scene(t);
    await refused((await greeted(t, port)).say(BAD_REQUESTS.emptyName), "04");
  });

  it("17: a name with a NUL in it is not taken for its front half", async (t) => {
    const asked: string[] = [];
    const resolve = (name: string): Promise<string[]> => {
      asked.push(name);
      return Promise.resolve(["127.0.0.1"]);
    };
    const { port } = await scene(t, { resolve });
    await refused((await greeted(t, port)).say(BAD_REQUESTS.nulInName), "04");
    assert.deepEqual(asked, []);
  });

  it("18: port 0", async (t) => {
    const { port } = await scene(t);
    const reply = await (await greeted(t, port)).say(`05010001 ${LOOPBACK} 0000`).hex(10);
    assert.match(reply, REFUSED);
  });

  it("19: a half-close goes through, and the answer to it comes back", async (t) => {
    const target = await tcpServer(t, (socket) => {
      let size = 0;
      socket.on("data", (chunk) => (size += chunk.length));
      socket.on("end", () => socket.end(`GOT${size}`));
    });
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010001 ${LOOPBACK} ${portHex(target)}`);
    await granted(client);
    client.socket.end(Buffer.alloc(100_000, 0x78));
    assert.equal(String(await client.rest()), "GOT100000");
  });

  it("20: a destination that speaks first", async (t) => {
    const target = await tcpServer(t, (socket) => socket.write("220 hello\r\n"));
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010001 ${LOOPBACK} ${portHex(target)}`);
    await granted(client);
    assert.equal(String(await client.read(11)), "220 hello\r\n");
  });

  it("21: 20 MB each way at once come through unchanged", async (t) => {
    const target = await tcpServer(t, echo);
    const { port } = await scene(t);
    const client = await greeted(t, port);
    client.say(`05010001 ${LOOPBACK} ${portHex(target)}`);
    await granted(client);
    const [up, down] = [createHash("sha256"), createHash("sha256")];
    client.socket.removeAllListeners("data");
    const finished = once(client.socket, "end");
    client.socket.on("data", (chunk: Buffer) => down.update(chunk));
    for (let sent = 0; sent < 20; sent++) {
      const block = randomBytes(1_048_576);
      up.update(block);
      if (!client.socket.write(block)) await once(client.socket, "drain");
    }
    client.socket.end();
    await finished;
    assert.equal(down.digest("hex"), up.digest("hex"));
  });
});

describe("passwords, byte for byte", () => {
  async function withUser(t: TestContext): Promise<Scene> {
    return scene(t, { users: [{ name: "user", hash: await hashPassword("secret") }] });
  }

  it("22: the right one", async (t) => {
    const { port, kernel } = await withUser(t);
    const client = await RawClient.open(t, port);
    assert.equal(await client.say("05020002").hex(2), "0502");
    assert.equal(await client.say("01 04 75736572 06 736563726574").hex(2), "0100");
    client.say(`05010001 ${LOOPBACK} ${portHex(await tcpServer(t, echo))}`);
    await granted(client);
    await ping(client);
    const { found } = await kernel.store.list({ term: "p:user", limit: 10 });
    assert.equal(found.length, 1, "the session belongs to the user");
  });

  it("23: a wrong one", async (t) => {
    const { port } = await withUser(t);
    const client = await RawClient.open(t, port);
    assert.equal(await client.say("050102").hex(2), "0502");
    assert.equal((await client.say("01 04 75736572 03 626164").rest()).toString("hex"), "0101");
    const without = await RawClient.open(t, port);
    assert.equal((await without.say("050100").rest()).toString("hex"), "05ff", "nor does it do without one");
    const four = await RawClient.open(t, port);
    assert.equal(
      (await four.say(`04010050 ${LOOPBACK} 7573657200`).rest()).toString("hex"),
      "005d000000000000",
    );
  });
});

describe("BIND, byte for byte", () => {
  it("24: both replies, then bytes both ways", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    const listening = await granted(client.say(`05020001 ${LOOPBACK} 0000`));
    const peer = kept(t, net.connect(listening, "127.0.0.1"));
    peer.write("from-peer");
    assert.equal(await granted(client), peer.localPort, "the second reply names the peer");
    assert.equal(String(await client.read(9)), "from-peer");
    client.say(Buffer.from("to-peer"));
    const [heard] = await once(peer, "data");
    assert.equal(String(heard), "to-peer");
  });

  it("25: a peer that was not expected is turned away, and the expected one still served", async (t) => {
    const { port } = await scene(t);
    const client = await greeted(t, port);
    const bound = await client.say("05020001 7f000009 0000").hex(10);
    const listening = { host: "127.0.0.1", port: Number.parseInt(bound.slice(-4), 16) };
    const address = Buffer.from(bound.slice(8, 16), "hex").join(".");
    const stranger = net.connect({ ...listening, host: address, localAddress: "127.0.0.5" });
    await new Promise((closed) => stranger.on("error", () => stranger.destroy()).on("close", closed));
    kept(t, net.connect({ ...listening, host: address, localAddress: "127.0.0.9" }));
    assert.match(await client.hex(10), /^050000017f000009[0-9a-f]{4}$/);
  });
});

describe("UDP ASSOCIATE, byte for byte", () => {
  async function udpEcho(t: TestContext): Promise<number> {
    const server = dgram.createSocket("udp4");
    server.on("message", (message, from) => server.send(message, from.port, from.address));
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    return server.address().port;
  }

  async function udpClient(t: TestContext, address = "127.0.0.1"): Promise<dgram.Socket> {
    const socket = dgram.createSocket("udp4");
    socket.bind(0, address);
    await once(socket, "listening");
    t.after(() => socket.close());
    return socket;
  }

  function datagram(port: number, payload: string, fragment = "00"): Buffer {
    return Buffer.concat([
      Buffer.from(`0000${fragment}01${LOOPBACK}${portHex(port)}`, "hex"),
      Buffer.from(payload),
    ]);
  }

  it("26: a datagram there and back, with the sender's address in front", async (t) => {
    const { port, kernel } = await scene(t);
    const target = await udpEcho(t);
    const client = await greeted(t, port);
    const relay = await granted(client.say("05030001 00000000 0000"));
    const udp = await udpClient(t);
    udp.send(datagram(target, "hello"), relay, "127.0.0.1");
    const [answer, from] = await once(udp, "message");
    assert.deepEqual(answer, datagram(target, "hello"));
    assert.equal(from.port, relay);
    assert.equal(kernel.liveCount, 1);
  });

  it("27: RFC 1928 §7: fragments are dropped", async (t) => {
    const { port } = await scene(t);
    const target = await udpEcho(t);
    const relay = await granted((await greeted(t, port)).say("05030001 00000000 0000"));
    const udp = await udpClient(t);
    udp.send(datagram(target, "fragment", "01"), relay, "127.0.0.1");
    udp.send(datagram(target, "fragment", "81"), relay, "127.0.0.1");
    udp.send(datagram(target, "whole"), relay, "127.0.0.1");
    const [answer] = await once(udp, "message");
    assert.deepEqual(answer, datagram(target, "whole"));
  });

  it("28: what another address sends is dropped", async (t) => {
    const { port } = await scene(t);
    const heard: string[] = [];
    const server = dgram.createSocket("udp4").on("message", (message) => heard.push(String(message)));
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const relay = await granted((await greeted(t, port)).say("05030001 00000000 0000"));
    const stranger = await udpClient(t, "127.0.0.5");
    await new Promise((sent) =>
      stranger.send(datagram(server.address().port, "stranger"), relay, "127.0.0.1", sent),
    );
    (await udpClient(t)).send(datagram(server.address().port, "client"), relay, "127.0.0.1");
    await until("the client's datagram has come", () => heard.length > 0);
    assert.deepEqual(heard, ["client"]);
  });

  it("29: it ends with its TCP connection", async (t) => {
    const { port, socks } = await scene(t);
    const client = await greeted(t, port);
    const relay = await granted(client.say("05030001 00000000 0000"));
    client.socket.destroy();
    await until("the association is gone", () => socks.connections === 0 && socks.sessions === 0);
    // Its port is free again.
    const again = dgram.createSocket("udp4");
    again.bind(relay, "127.0.0.1");
    await once(again, "listening");
    again.close();
  });

  it("30: a client that names 0.0.0.0 and its own port is served", async (t) => {
    const { port } = await scene(t);
    const target = await udpEcho(t);
    const udp = await udpClient(t);
    const announced = portHex(udp.address().port);
    const relay = await granted((await greeted(t, port)).say(`05030001 00000000 ${announced}`));
    udp.send(datagram(target, "hello"), relay, "127.0.0.1");
    const [answer] = await once(udp, "message");
    assert.deepEqual(answer, datagram(target, "hello"));
  });
});

describe("SOCKS4, byte for byte", () => {
  it("31: CONNECT", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    client.say(`0401 ${portHex(await tcpServer(t, echo))} ${LOOPBACK} 7573657200`);
    assert.match(await client.hex(8), /^005a[0-9a-f]{4}7f000001$/);
    await ping(client);
  });

  it("32: CONNECT to a name (4a)", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    client.say(`0401 ${portHex(await tcpServer(t, echo))} 00000001 7573657200 6c6f63616c686f737400`);
    assert.match(await client.hex(8), /^005a[0-9a-f]{4}7f000001$/);
    await ping(client);
  });

  it("33: CONNECT to a closed port", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    client.say(`0401 ${portHex(await closedPort())} ${LOOPBACK} 00`);
    assert.equal((await client.rest()).toString("hex"), "005b000000000000");
  });

  it("34: BIND", async (t) => {
    const { port } = await scene(t);
    const client = await RawClient.open(t, port);
    const bound = await client.say(`04020000 ${LOOPBACK} 7500`).hex(8);
    assert.match(bound, /^005a[0-9a-f]{4}7f000001$/);
    const peer = kept(t, net.connect(Number.parseInt(bound.slice(4, 8), 16), "127.0.0.1"));
    assert.match(await client.hex(8), /^005a[0-9a-f]{4}7f000001$/);
    peer.write("x");
    assert.equal(String(await client.read(1)), "x");
  });
});

describe("slow clients", () => {
  it("35: a handshake that does not come to an end is closed at its deadline", async (t) => {
    const { port } = await scene(t, { limits: { handshakeMs: 100 } });
    const client = await RawClient.open(t, port);
    assert.equal((await client.say("05").rest()).toString("hex"), "");
  });
});
