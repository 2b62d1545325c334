import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import { socksDispatcher } from "fetch-socks";
import { SocksClient } from "socks";
import { SocksProxyAgent } from "socks-proxy-agent";
import { hashPassword } from "../../src/mechanisms/socks/index.ts";
import { echo, kept, oneSession, portOf, scene, tcpServer } from "../mechanisms/socks/scene.ts";
import type { Scene } from "../mechanisms/socks/scene.ts";
import { folder, installed, run } from "../peers/process.ts";
import { sshServer } from "../peers/sshd.ts";

/** A web server whose answer says what was asked. */
async function web(t: TestContext): Promise<number> {
  const server = http
    .createServer((request, response) => response.end(`served ${request.url}`))
    .listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return portOf(server);
}

async function withUser(t: TestContext): Promise<Scene> {
  return scene(t, { users: [{ name: "ann", hash: await hashPassword("secret") }] });
}

describe("curl", () => {
  for (const scheme of ["socks4", "socks4a", "socks5", "socks5h"]) {
    it(scheme, async (t) => {
      if (!installed(t, "curl")) return;
      const { kernel, port } = await scene(t);
      const target = await web(t);
      const { code, stdout, stderr } = await run("curl", [
        ...["-sS", "--noproxy", "", "-x", `${scheme}://127.0.0.1:${port}`],
        `http://localhost:${target}/${scheme}`,
      ]);
      assert.deepEqual([code, stdout], [0, `served /${scheme}`], stderr);
      const { label, peer } = await oneSession(kernel, "ended");
      const named = scheme === "socks4a" || scheme === "socks5h";
      assert.equal(label, named ? `localhost:${target}` : `127.0.0.1:${target}`);
      assert.equal(peer.agent, scheme.startsWith("socks4") ? "SOCKS4" : "SOCKS5");
    });
  }

  it("socks5 with a password, and with a wrong one", async (t) => {
    if (!installed(t, "curl")) return;
    const { kernel, port } = await withUser(t);
    const url = `http://127.0.0.1:${await web(t)}/in`;
    const through = (password: string): Promise<{ code: number | null; stdout: string }> =>
      run("curl", ["-sS", "--noproxy", "", "-x", `socks5://ann:${password}@127.0.0.1:${port}`, url]);
    const good = await through("secret");
    assert.deepEqual([good.code, good.stdout], [0, "served /in"]);
    assert.equal((await oneSession(kernel, "ended")).principal, "ann");
    // 97: the proxy handshake failed.
    assert.equal((await through("wrong")).code, 97);
  });
});

describe("netcat-openbsd and ssh", () => {
  for (const version of ["4", "5"]) {
    it(`nc -X ${version}`, async (t) => {
      if (!installed(t, "nc", ["-h"])) return;
      const { port } = await scene(t);
      const target = await tcpServer(t, (socket) =>
        socket.on("data", (chunk) => socket.end(`heard ${String(chunk)}`)),
      );
      const args = ["-X", version, "-x", `127.0.0.1:${port}`, "127.0.0.1", String(target)];
      const { stdout, stderr } = await run("nc", args, { input: "nc" });
      assert.equal(stdout, "heard nc", stderr);
    });
  }

  it("ssh with ProxyCommand", async (t) => {
    if (!installed(t, "nc", ["-h"]) || !installed(t, "ssh") || !installed(t, "sshd")) return;
    const { kernel, port } = await scene(t);
    const server = await sshServer(t);
    const { code, stdout, stderr } = await run("ssh", [
      ...server.options,
      ...["-o", `ProxyCommand=nc -X 5 -x 127.0.0.1:${port} %h %p`, "-p", String(server.port), server.host],
      "echo through; head -c 300000 /dev/zero | wc -c",
    ]);
    assert.equal(stdout, "through\n300000\n", stderr);
    assert.equal(code, 0);
    assert.equal((await oneSession(kernel, "ended")).label, `127.0.0.1:${server.port}`);
  });
});

describe("proxychains4", () => {
  for (const [type, more] of [
    ["socks5", "ann secret"],
    ["socks4", ""],
  ] as const) {
    it(type, async (t) => {
      if (!installed(t, "proxychains4") || !installed(t, "curl")) return;
      const { kernel, port } = type === "socks5" ? await withUser(t) : await scene(t);
      const config = join(folder(t), "proxychains.conf");
      const lines = ["strict_chain", "quiet_mode", "[ProxyList]", `${type} 127.0.0.1 ${port} ${more}`];
      writeFileSync(config, `${lines.join("\n")}\n`);
      const url = `http://127.0.0.1:${await web(t)}/chain`;
      const { stdout, stderr } = await run("proxychains4", ["-f", config, "curl", "-sS", url]);
      assert.equal(stdout, "served /chain", stderr);
      assert.equal((await oneSession(kernel, "ended")).principal, type === "socks5" ? "ann" : undefined);
    });
  }
});

describe("socat", () => {
  for (const kind of ["SOCKS4", "SOCKS4A"]) {
    it(kind, async (t) => {
      if (!installed(t, "socat")) return;
      const { kernel, port } = await scene(t);
      const target = await tcpServer(t, (socket) =>
        socket.on("data", (chunk) => socket.end(`heard ${String(chunk)}`)),
      );
      const address = `${kind}:127.0.0.1:localhost:${target},socksport=${port},socksuser=me`;
      const { stdout, stderr } = await run("socat", ["-t", "5", "-", address], { input: "socat" });
      assert.equal(stdout, "heard socat", stderr);
      const named = kind === "SOCKS4A";
      assert.equal(
        (await oneSession(kernel, "ended")).label,
        `${named ? "localhost" : "127.0.0.1"}:${target}`,
      );
    });
  }
});

/** Debian's own, which has Debian's modules; another one may stand before it on the path. */
const PYTHON = "/usr/bin/python3";

describe("python3-socks", () => {
  const python = (...lines: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> =>
    run(PYTHON, ["-c", ["import socks", ...lines].join("\n")]);

  for (const [type, extra] of [
    ["SOCKS5", ", True, 'ann', 'secret'"],
    ["SOCKS4", ""],
  ] as const) {
    it(`TCP through ${type}`, async (t) => {
      if (!installed(t, PYTHON, ["-c", "import socks"])) return;
      const { port } = type === "SOCKS5" ? await withUser(t) : await scene(t);
      const { stdout, stderr } = await python(
        "s = socks.socksocket()",
        `s.set_proxy(socks.${type}, '127.0.0.1', ${port}${extra})`,
        `s.connect(('localhost', ${await tcpServer(t, echo)}))`,
        "s.sendall(b'python'); print(s.recv(6).decode())",
      );
      assert.equal(stdout, "python\n", stderr);
    });
  }

  it("UDP", async (t) => {
    if (!installed(t, PYTHON, ["-c", "import socks"])) return;
    const { kernel, port } = await scene(t);
    const server = dgram.createSocket("udp4").on("message", (message, from) => {
      server.send(`heard ${String(message)}`, from.port, from.address);
    });
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const to = server.address().port;
    const { stdout, stderr } = await python(
      "import socket",
      "s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)",
      `s.set_proxy(socks.SOCKS5, '127.0.0.1', ${port})`,
      "s.settimeout(20)",
      `s.sendto(b'python', ('127.0.0.1', ${to}))`,
      "print(s.recvfrom(100))",
    );
    assert.equal(stdout, `(b'heard python', ('127.0.0.1', ${to}))\n`, stderr);
    assert.equal((await oneSession(kernel, "ended")).label, "udp");
  });
});

describe("npm socks", () => {
  const proxyTo = (port: number, type: 4 | 5): { ipaddress: string; port: number; type: 4 | 5 } => {
    return { ipaddress: "127.0.0.1", port, type };
  };

  for (const type of [4, 5] as const) {
    it(`CONNECT with version ${type}`, async (t) => {
      const { port } = await scene(t);
      const { socket } = await SocksClient.createConnection({
        proxy: proxyTo(port, type),
        command: "connect",
        destination: { host: "localhost", port: await tcpServer(t, echo) },
      });
      kept(t, socket).resume();
      socket.write("npm socks");
      assert.equal(String((await once(socket, "data"))[0]), "npm socks");
    });

    it(`BIND with version ${type}`, async (t) => {
      const { port } = await scene(t);
      const client = new SocksClient({
        proxy: proxyTo(port, type),
        command: "bind",
        destination: { host: "0.0.0.0", port: 0 },
      });
      const established = once(client, "established");
      const bound = once(client, "bound");
      client.connect();
      const [{ remoteHost }] = (await bound) as [{ remoteHost?: { port: number } }];
      const peer = kept(t, net.connect(remoteHost?.port ?? 0, "127.0.0.1"));
      const [{ socket }] = (await established) as [{ socket: net.Socket }];
      kept(t, socket).resume();
      peer.write("from the peer");
      assert.equal(String((await once(socket, "data"))[0]), "from the peer");
    });
  }

  it("UDP ASSOCIATE", async (t) => {
    const { port } = await scene(t);
    const server = dgram.createSocket("udp4").on("message", (message, from) => {
      server.send(message, from.port, from.address);
    });
    server.bind(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const client = new SocksClient({
      proxy: proxyTo(port, 5),
      command: "associate",
      destination: { host: "0.0.0.0", port: 0 },
    });
    client.connect();
    const [{ socket, remoteHost }] = (await once(client, "established")) as [
      { socket: net.Socket; remoteHost?: { host: string; port: number } },
    ];
    kept(t, socket);
    const udp = dgram.createSocket("udp4");
    t.after(() => udp.close());
    const to = { host: "127.0.0.1", port: server.address().port };
    const frame = SocksClient.createUDPFrame({ remoteHost: to, data: Buffer.from("datagram") });
    udp.send(frame, remoteHost?.port ?? 0, remoteHost?.host ?? "");
    const [answer] = (await once(udp, "message")) as [Buffer];
    const { remoteHost: from, data } = SocksClient.parseUDPFrame(answer);
    assert.deepEqual([from.port, String(data)], [to.port, "datagram"]);
  });
});

describe("agents of others", () => {
  it("socks-proxy-agent", async (t) => {
    const { kernel, port } = await withUser(t);
    const agent = new SocksProxyAgent(`socks5h://ann:secret@127.0.0.1:${port}`);
    const request = http.get({ agent, host: "localhost", port: await web(t), path: "/agent" });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    assert.equal(body, "served /agent");
    assert.equal((await oneSession(kernel, "ended")).principal, "ann");
  });

  it("fetch-socks", async (t) => {
    const { kernel, port } = await withUser(t);
    const dispatcher = socksDispatcher({
      type: 5,
      host: "127.0.0.1",
      port,
      userId: "ann",
      password: "secret",
    });
    // Node 20's own fetch is of another undici than this dispatcher, so it is asked directly.
    const origin = `http://localhost:${await web(t)}`;
    const { body } = await dispatcher.request({ origin, path: "/fetch", method: "GET" });
    assert.equal(await body.text(), "served /fetch");
    assert.equal((await oneSession(kernel)).principal, "ann");
    await dispatcher.close();
  });
});
