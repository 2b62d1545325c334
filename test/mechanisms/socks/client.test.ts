import assert from "node:assert/strict";
import dgram from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import type { TestContext } from "node:test";
import { describe, it } from "node:test";
import type { Proxy, ProxyLike } from "../../../src/mechanisms/socks/index.ts";
import {
  associate,
  bind,
  connect,
  dial,
  hashPassword,
  ProxyError,
  SocksAgent,
  SocksTlsAgent,
} from "../../../src/mechanisms/socks/index.ts";
import { folder, installed } from "../../peers/process.ts";
import { parseProxy } from "../../../src/mechanisms/socks/proxy.ts";
import {
  closedPort,
  echo,
  hasIPv6,
  kept,
  oneSession,
  portOf,
  RawClient,
  scene,
  tcpServer,
  until,
} from "./scene.ts";
import { selfSigned } from "../../peers/certificate.ts";

const via = (port: number, more: Partial<Proxy> = {}): Proxy => ({
  protocol: "socks5",
  host: "127.0.0.1",
  port,
  ...more,
});

async function textOf(socket: net.Socket): Promise<string> {
  let text = "";
  socket.on("data", (chunk: Buffer) => (text += String(chunk)));
  await once(socket, "end");
  return text;
}

/** A bare HTTP proxy that knows CONNECT, and a password when given one. */
async function httpProxy(t: TestContext, password?: string): Promise<number> {
  const server = http.createServer();
  server.on("connect", (request, near: net.Socket) => {
    if (
      password !== undefined &&
      request.headers["proxy-authorization"] !== `Basic ${btoa(`user:${password}`)}`
    ) {
      near.end("HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n");
      return;
    }
    const { hostname, port } = new URL(`http://${request.url}`);
    const far = net.connect(Number(port), hostname, () => {
      near.write("HTTP/1.1 200 Connection established\r\n\r\n");
      near.pipe(far).pipe(near);
    });
    for (const socket of [near, far]) socket.on("error", () => [near, far].forEach((one) => one.destroy()));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return portOf(server);
}

describe("dial", () => {
  it("gives an ordinary socket, with what the destination said first still in it", async (t) => {
    const target = await tcpServer(t, (socket) => socket.end("220 hello"));
    const { port } = await scene(t);
    for (const protocol of ["socks5", "socks4"] as const) {
      const { socket, bound } = await dial({
        proxy: via(port, { protocol }),
        host: "localhost",
        port: target,
      });
      assert.ok(socket instanceof net.Socket);
      assert.equal(bound.host, "127.0.0.1");
      // Whoever looks at it late misses nothing.
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(await textOf(socket), "220 hello");
      socket.destroy();
    }
  });

  it("through a chain: SOCKS5 with a password, SOCKS4 and HTTP CONNECT", async (t) => {
    const target = await tcpServer(t, echo);
    const users = [{ name: "ann", hash: await hashPassword("secret") }];
    const [first, second, web] = [await scene(t, { users }), await scene(t), await httpProxy(t, "secret")];
    const proxy: ProxyLike[] = [
      `socks5://ann:secret@127.0.0.1:${first.port}`,
      `socks4://127.0.0.1:${second.port}`,
      `http://user:secret@127.0.0.1:${web}`,
    ];
    const { socket } = await dial({ proxy, host: "localhost", port: target });
    socket.end("through three");
    assert.equal(await textOf(socket), "through three");
  });

  it("says which proxy of a chain is at fault, and why", async (t) => {
    const [first, second] = [await scene(t), await scene(t, { rules: [] })];
    const chain = [via(first.port), via(second.port)];
    await assert.rejects(dial({ proxy: chain, host: "127.0.0.1", port: 1 }), {
      code: "proxy-refused",
      reply: "not-allowed",
      hop: 1,
    });
    const refused = { code: "proxy-refused", reply: "connection-refused", hop: 0 };
    await assert.rejects(
      dial({ proxy: via(first.port), host: "127.0.0.1", port: await closedPort() }),
      refused,
    );
    const nobody = via(await closedPort());
    await assert.rejects(dial({ proxy: nobody, host: "a", port: 1 }), { code: "proxy-unreachable", hop: 0 });
    const web = via(await httpProxy(t, "secret"), { protocol: "http", username: "user", password: "wrong" });
    await assert.rejects(dial({ proxy: web, host: "a", port: 1 }), { code: "proxy-authentication" });
    const other = via(await tcpServer(t, (socket) => socket.end("SSH-2.0-x\r\n")));
    await assert.rejects(dial({ proxy: other, host: "a", port: 1 }), { code: "proxy-protocol" });
    const mute = via(await tcpServer(t, (socket) => socket.end()));
    await assert.rejects(dial({ proxy: mute, host: "a", port: 1 }), { code: "proxy-closed" });
    await assert.rejects(dial({ proxy: via(first.port), host: "x".repeat(256), port: 1 }), {
      code: "request-not-expressible",
    });
    await assert.rejects(dial({ proxy: [], host: "a", port: 1 }), { code: "invalid-argument" });
  });

  it("gives up when time is out, or when told to, and closes what it had", async (t) => {
    let open = 0;
    const silent = await tcpServer(t, (socket) => {
      open++;
      socket.on("close", () => open--);
      socket.on("end", () => socket.end());
      socket.resume();
    });
    await assert.rejects(dial({ proxy: via(silent), host: "a", port: 1, timeoutMs: 50 }), {
      code: "proxy-timeout",
    });
    const why = new Error("changed my mind");
    const abort = new AbortController();
    const dialling = dial({ proxy: via(silent), host: "a", port: 1, signal: abort.signal });
    setTimeout(() => abort.abort(why), 20);
    await assert.rejects(dialling, why);
    await assert.rejects(
      dial({ proxy: via(silent), host: "a", port: 1, signal: AbortSignal.abort(why) }),
      why,
    );
    await until("nothing is left open", () => open === 0);
  });

  it("proxies as URLs", () => {
    assert.deepEqual(
      parseProxy("socks5://u:p%40@[::1]:9"),
      via(9, { host: "::1", username: "u", password: "p@" }),
    );
    assert.deepEqual(parseProxy("socks4a://h"), { protocol: "socks4", host: "h", port: 1080 });
    assert.deepEqual(parseProxy(new URL("http://h:3128")), { protocol: "http", host: "h", port: 3128 });
    for (const bad of ["ftp://h", "h:1080", "", "socks5://"]) {
      assert.throws(() => parseProxy(bad), { code: "invalid-argument" }, bad);
    }
    assert.throws(
      () => parseProxy("ftp://user:secret@h"),
      (error: unknown) => !JSON.stringify(error).includes("secret"),
    );
  });
});

describe("connect, as of node:net", () => {
  it("returns at once, keeps what is written before, and half-closes", async (t) => {
    const target = await tcpServer(t, (socket) => {
      let got = "";
      socket.on("data", (chunk: Buffer) => (got += String(chunk)));
      socket.on("end", () => socket.end(got.toUpperCase()));
    });
    const { port } = await scene(t);
    let connected = 0;
    const socket = connect({ proxy: via(port), host: "localhost", port: target }, () => connected++);
    socket.setNoDelay().setKeepAlive(true).setTimeout(60_000);
    assert.equal(socket.connecting, true);
    socket.write("hello ");
    socket.end("there");
    let text = "";
    for await (const chunk of socket) text += String(chunk);
    assert.equal(text, "HELLO THERE");
    assert.equal(connected, 1);
    assert.equal(socket.bound?.host, "127.0.0.1");
  });

  it("10 MB through it, both ways", async (t) => {
    const { port } = await scene(t);
    const socket = connect({ proxy: via(port), host: "localhost", port: await tcpServer(t, echo) });
    const block = Buffer.alloc(10 * 1_048_576, 0x61);
    socket.end(block);
    let size = 0;
    for await (const chunk of socket) size += (chunk as Buffer).length;
    assert.equal(size, block.length);
  });

  it("emits the error, and can be destroyed while it connects", async (t) => {
    const { port } = await scene(t, { rules: [] });
    const failed = connect({ proxy: via(port), host: "localhost", port: 1 });
    const [error] = (await once(failed, "error")) as [unknown];
    assert.ok(error instanceof ProxyError && error.reply === "not-allowed");
    const socket = connect({ proxy: via(port), host: "localhost", port: 1 });
    socket.destroy();
    await once(socket, "close");
    assert.equal(socket.connecting, false);
  });
});

describe("agents", () => {
  it("carry http through, and keep the connection alive", async (t) => {
    const web = http
      .createServer((request, response) => response.end(`hello ${request.url}`))
      .listen(0, "127.0.0.1");
    await once(web, "listening");
    t.after(() => web.close());
    const { kernel, port } = await scene(t);
    const agent = new SocksAgent({ proxy: via(port) }, { keepAlive: true });
    t.after(() => agent.destroy());
    for (const path of ["/one", "/two"]) {
      const request = http.get({ agent, host: "localhost", port: portOf(web), path });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      let body = "";
      for await (const chunk of response) body += String(chunk);
      assert.equal(body, `hello ${path}`);
    }
    await oneSession(kernel);
  });

  it("carry https through, with TLS from here to the destination", async (t) => {
    if (!installed(t, "openssl", ["version"])) return;
    const files = selfSigned(folder(t));
    const [key, cert] = [readFileSync(files.key), readFileSync(files.cert)];
    const web = https.createServer({ key, cert }, (request, response) =>
      response.end(`hello ${request.url}`),
    );
    web.listen(0, "127.0.0.1");
    await once(web, "listening");
    t.after(() => web.close());
    const { kernel, port } = await scene(t);
    const agent = new SocksTlsAgent({ proxy: via(port) }, { ca: cert, keepAlive: true });
    t.after(() => agent.destroy());
    for (const path of ["/one", "/two"]) {
      const request = https.get({ agent, host: "localhost", port: portOf(web), path });
      const [response] = (await once(request, "response")) as [http.IncomingMessage];
      let body = "";
      for await (const chunk of response) body += String(chunk);
      assert.equal(body, `hello ${path}`);
    }
    await oneSession(kernel);
    const distrusting = new SocksTlsAgent({ proxy: via(port) });
    const request = https.get({ agent: distrusting, host: "localhost", port: portOf(web) });
    await assert.rejects(once(request, "response"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  });

  it("give the request the proxy's error", async (t) => {
    const { port } = await scene(t, { rules: [] });
    const request = http.get({ agent: new SocksAgent({ proxy: via(port) }), host: "localhost", port: 1 });
    const [error] = (await once(request, "error")) as [unknown];
    assert.ok(error instanceof ProxyError && error.code === "proxy-refused");
  });
});

describe("BIND from the client's side", () => {
  for (const protocol of ["socks5", "socks4"] as const) {
    it(`${protocol}: the proxy listens, the peer comes, bytes go both ways`, async (t) => {
      const { port } = await scene(t);
      await using binding = await bind({ proxy: via(port, { protocol }), host: "127.0.0.1" });
      const peer = kept(t, net.connect(binding.bound.port, binding.bound.host));
      peer.write("from the peer");
      const { socket, peer: from } = await binding.accepted;
      kept(t, socket);
      assert.deepEqual(from, { host: "127.0.0.1", port: peer.localPort });
      assert.equal(String((await once(socket, "data"))[0]), "from the peer");
      socket.end("to the peer");
      assert.equal(await textOf(peer), "to the peer");
    });
  }

  it("closed before the peer came, the port is closed and the waiting ends", async (t) => {
    const { port, socks } = await scene(t);
    const binding = await bind({ proxy: via(port) });
    binding.close();
    await assert.rejects(binding.accepted, /closed/);
    await until("the proxy has let go", () => socks.connections === 0);
    await assert.rejects(once(net.connect(binding.bound.port, binding.bound.host), "connect"), {
      code: "ECONNREFUSED",
    });
  });

  it("through an upstream proxy", async (t) => {
    const upstream = await scene(t);
    const { port } = await scene(t, { upstream: via(upstream.port) });
    const binding = await bind({ proxy: via(port), host: "127.0.0.1" });
    const peer = kept(t, net.connect(binding.bound.port, binding.bound.host));
    const { socket } = await binding.accepted;
    kept(t, socket);
    peer.write("x");
    assert.equal(String((await once(socket, "data"))[0]), "x");
    await oneSession(upstream.kernel);
  });
});

describe("UDP from the client's side", () => {
  async function udpEcho(t: TestContext, type: "udp4" | "udp6"): Promise<number> {
    const server = dgram.createSocket(type).on("message", (message, from) => {
      server.send(message, from.port, from.address);
    });
    server.bind(0, type === "udp4" ? "127.0.0.1" : "::1");
    await once(server, "listening");
    t.after(() => server.close());
    return server.address().port;
  }

  it("to IPv4, IPv6 and a name; counted, and over when closed", async (t) => {
    const resolve = (): Promise<string[]> => Promise.resolve(["127.0.0.1"]);
    const { kernel, port, socks } = await scene(t, { resolve });
    const udp = await associate({ proxy: via(port) });
    const four = await udpEcho(t, "udp4");
    const exchanges = [
      ["127.0.0.1", four, "127.0.0.1"],
      ["echo.example", four, "127.0.0.1"],
    ] satisfies [string, number, string][];
    if (hasIPv6()) exchanges.push(["::1", await udpEcho(t, "udp6"), "::1"]);
    for (const [host, to, from] of exchanges) {
      const answer = once(udp, "message");
      await udp.send(Buffer.from(`to ${host}`), { host, port: to });
      const [payload, sender] = await answer;
      assert.equal(String(payload), `to ${host}`);
      assert.deepEqual(sender, { host: from, port: to });
    }
    udp.close();
    const ended = await oneSession(kernel, "ended");
    assert.equal(ended.ended?.reason, "finished");
    const end = (await kernel.store.timeline(ended.handle)).findLast((entry) => entry.event === "end");
    const bytes = exchanges.reduce((sum, [host]) => sum + `to ${host}`.length, 0);
    assert.deepEqual([end?.detail?.["up"], end?.detail?.["down"]], [bytes, bytes]);
    assert.equal(socks.connections, 0);
    assert.throws(() => udp.send(Buffer.from("x"), { host: "x".repeat(300), port: 1 }), {
      code: "invalid-argument",
    });
  });

  it("only where the rules allow, and only from whom one spoke to", async (t) => {
    const heard: string[] = [];
    const listener = dgram.createSocket("udp4").on("message", (message) => heard.push(String(message)));
    listener.bind(0, "127.0.0.1");
    await once(listener, "listening");
    t.after(() => listener.close());
    const allowed = await udpEcho(t, "udp4");
    const { port } = await scene(t, {
      rules: [{ action: "allow", ports: [allowed], addresses: ["loopback"] }],
    });
    await using udp = await associate({ proxy: via(port) });
    const got: string[] = [];
    udp.on("message", (payload) => got.push(String(payload)));
    await udp.send(Buffer.from("not allowed"), { host: "127.0.0.1", port: listener.address().port });
    await udp.send(Buffer.from("allowed"), { host: "127.0.0.1", port: allowed });
    await until("the allowed one has come back", () => got.length > 0);
    assert.deepEqual([heard, got], [[], ["allowed"]]);
  });
});

describe("a server behind another proxy", () => {
  it("relays through a SOCKS or HTTP proxy, resolving here or there", async (t) => {
    const target = await tcpServer(t, echo);
    const asked: string[] = [];
    const far = await scene(t, {
      resolve: (name) => {
        asked.push(name);
        return Promise.resolve(["127.0.0.1"]);
      },
    });
    const web = await httpProxy(t);
    for (const [upstream, upstreamResolves] of [
      [via(far.port), true],
      [`http://127.0.0.1:${web}`, false],
      [[`http://127.0.0.1:${web}`, via(far.port)], false],
    ] as const) {
      const near = await scene(t, { upstream, upstreamResolves });
      const { socket } = await dial({ proxy: via(near.port), host: "localhost", port: target });
      socket.end("through it all");
      assert.equal(await textOf(socket), "through it all");
    }
    assert.deepEqual(asked, ["localhost"]);
  });

  it("passes the upstream proxy's refusal on, and does without UDP", async (t) => {
    const far = await scene(t, { rules: [] });
    const near = await scene(t, { upstream: via(far.port) });
    const refused = dial({ proxy: via(near.port), host: "127.0.0.1", port: 1 });
    await assert.rejects(refused, { code: "proxy-refused", reply: "not-allowed" });
    await assert.rejects(associate({ proxy: via(near.port) }), { reply: "command-not-supported" });
  });

  it("a client that leaves while the destination is being reached leaves nothing behind", async (t) => {
    let open = 0;
    const silent = await tcpServer(t, (socket) => {
      open++;
      socket.on("close", () => open--);
      socket.on("end", () => socket.end());
      socket.resume();
    });
    const { socks, port } = await scene(t, { upstream: via(silent) });
    const client = await RawClient.open(t, port);
    client.say("050100 050100017f0000010050");
    await until("the upstream proxy is asked", () => open === 1);
    client.socket.resetAndDestroy();
    await until("everything is closed", () => open === 0 && socks.connections === 0);
  });
});
