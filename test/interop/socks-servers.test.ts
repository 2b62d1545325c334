import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import type { Proxy } from "../../src/mechanisms/socks/index.ts";
import { associate, bind, connect, dial, SocksAgent } from "../../src/mechanisms/socks/index.ts";
import { closedPort, echo, kept, portOf, tcpServer } from "../mechanisms/socks/scene.ts";
import { folder, freePort, installed, serverProcess } from "../peers/process.ts";
import { sshServer } from "../peers/sshd.ts";

async function danted(t: TestContext): Promise<number> {
  const home = folder(t);
  const port = await freePort();
  const config = [
    `logoutput: ${join(home, "log")}`,
    `internal: 127.0.0.1 port = ${port}`,
    "external: 127.0.0.1",
    "socksmethod: none",
    "clientmethod: none",
    "client pass { from: 0/0 to: 0/0 }",
    "socks pass { from: 0/0 to: 0/0 command: bind connect udpassociate bindreply udpreply }",
  ];
  writeFileSync(join(home, "danted.conf"), `${config.join("\n")}\n`);
  await serverProcess(t, "danted", ["-f", join(home, "danted.conf"), "-p", join(home, "pid")], port);
  return port;
}

interface Abilities {
  /** microsocks closes both directions when one side half-closes. */
  readonly halfClose: boolean;
  /** danted refuses SOCKS4a, to curl as well. */
  readonly names: boolean;
}

/** What a server does for our client: addresses, names, much data, a half-close. */
async function passes(t: TestContext, proxy: Proxy, { halfClose, names }: Abilities): Promise<void> {
  const counting = await tcpServer(t, (socket) => {
    let size = 0;
    socket.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size === 500_000 && !halfClose) socket.end(`got ${size}`);
    });
    socket.on("end", () => socket.end(halfClose ? `got ${size}` : ""));
  });
  for (const host of names ? ["127.0.0.1", "localhost"] : ["127.0.0.1"]) {
    const { socket } = await dial({ proxy, host, port: counting });
    kept(t, socket).write(Buffer.alloc(500_000));
    if (halfClose) socket.end();
    let said = "";
    socket.on("data", (chunk: Buffer) => (said += String(chunk)));
    await once(socket, "end");
    assert.equal(said, "got 500000", host);
  }
  const duplex = connect({ proxy, host: "127.0.0.1", port: await tcpServer(t, echo) });
  duplex.write("echo");
  assert.equal(String((await once(duplex, "data"))[0]), "echo");
  duplex.destroy();
}

describe("danted", () => {
  it("CONNECT with SOCKS4 and 5", async (t) => {
    if (!installed(t, "danted")) return;
    const port = await danted(t);
    const proxy = { host: "127.0.0.1", port } as const;
    await passes(t, { protocol: "socks5", ...proxy }, { halfClose: true, names: true });
    await passes(t, { protocol: "socks4", ...proxy }, { halfClose: true, names: false });
    const refused = dial({
      proxy: `socks5://127.0.0.1:${port}`,
      host: "127.0.0.1",
      port: await closedPort(),
    });
    await assert.rejects(refused, { code: "proxy-refused", reply: "connection-refused" });
  });

  it("BIND", async (t) => {
    if (!installed(t, "danted")) return;
    await using binding = await bind({ proxy: `socks5://127.0.0.1:${await danted(t)}`, host: "127.0.0.1" });
    const peer = kept(t, net.connect(binding.bound.port, binding.bound.host));
    const { socket, peer: from } = await binding.accepted;
    assert.equal(from.port, peer.localPort);
    kept(t, socket);
    peer.write("from the peer");
    assert.equal(String((await once(socket, "data"))[0]), "from the peer");
  });

  it("UDP ASSOCIATE", async (t) => {
    if (!installed(t, "danted")) return;
    const server = dgram.createSocket("udp4").on("message", (message, from) => {
      server.send(`heard ${String(message)}`, from.port, from.address);
    });
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    await using udp = await associate({ proxy: `socks5://127.0.0.1:${await danted(t)}` });
    const answer = once(udp, "message");
    await udp.send(Buffer.from("datagram"), { host: "127.0.0.1", port: server.address().port });
    assert.equal(String((await answer)[0]), "heard datagram");
  });
});

describe("microsocks", () => {
  it("CONNECT with and without a password", async (t) => {
    if (!installed(t, "microsocks")) return;
    const open = await freePort();
    await serverProcess(t, "microsocks", ["-i", "127.0.0.1", "-p", String(open)], open);
    const can = { halfClose: false, names: true };
    await passes(t, { protocol: "socks5", host: "127.0.0.1", port: open }, can);
    const port = await freePort();
    await serverProcess(
      t,
      "microsocks",
      ["-i", "127.0.0.1", "-p", String(port), "-u", "ann", "-P", "secret"],
      port,
    );
    const proxy = { protocol: "socks5", host: "127.0.0.1", port, username: "ann" } as const;
    await passes(t, { ...proxy, password: "secret" }, can);
    await assert.rejects(dial({ proxy: { ...proxy, password: "wrong" }, host: "127.0.0.1", port: 1 }), {
      code: "proxy-authentication",
    });
  });

  it("an http agent, with connections kept alive", async (t) => {
    if (!installed(t, "microsocks")) return;
    const port = await freePort();
    await serverProcess(t, "microsocks", ["-i", "127.0.0.1", "-p", String(port)], port);
    let connections = 0;
    const web = http
      .createServer((_, response) => response.end("served"))
      .on("connection", () => connections++);
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    t.after(() => web.close());
    const agent = new SocksAgent({ proxy: `socks5://127.0.0.1:${port}` }, { keepAlive: true });
    t.after(() => agent.destroy());
    for (let request = 0; request < 3; request++) {
      const [response] = (await once(
        http.get({ agent, host: "localhost", port: portOf(web) }),
        "response",
      )) as [http.IncomingMessage];
      response.resume();
      await once(response, "end");
    }
    assert.equal(connections, 1);
  });
});

describe("ssh -D", () => {
  it("CONNECT with SOCKS4, 4a and 5", async (t) => {
    if (!installed(t, "ssh") || !installed(t, "sshd")) return;
    const server = await sshServer(t);
    const port = await freePort();
    const args = ["-N", "-D", `127.0.0.1:${port}`, "-p", String(server.port), server.host];
    await serverProcess(t, "ssh", [...server.options, ...args], port);
    for (const protocol of ["socks5", "socks4"] as const) {
      await passes(t, { protocol, host: "127.0.0.1", port }, { halfClose: true, names: true });
    }
  });

  it("in a chain with microsocks", async (t) => {
    if (!installed(t, "ssh") || !installed(t, "sshd") || !installed(t, "microsocks")) return;
    const server = await sshServer(t);
    const [first, second] = [await freePort(), await freePort()];
    const args = ["-N", "-D", `127.0.0.1:${first}`, "-p", String(server.port), server.host];
    await serverProcess(t, "ssh", [...server.options, ...args], first);
    await serverProcess(t, "microsocks", ["-i", "127.0.0.1", "-p", String(second)], second);
    const proxy = [`socks5://127.0.0.1:${first}`, `socks5://127.0.0.1:${second}`];
    const { socket } = await dial({ proxy, host: "127.0.0.1", port: await tcpServer(t, echo) });
    kept(t, socket).write("through both");
    assert.equal(String((await once(socket, "data"))[0]), "through both");
  });
});
