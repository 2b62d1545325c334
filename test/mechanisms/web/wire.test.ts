import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage, RequestListener } from "node:http";
import { createServer, request as httpRequest } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { connect, createServer as createHttp2Server } from "node:http2";
import type { AddressInfo, Server } from "node:net";
import type { TestContext } from "node:test";
import { test } from "node:test";
import type { Sessions } from "../../../src/mechanisms/web/index.ts";
import { createSessions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** What stands in the bytes of a request and of its answer, where a framework would hide it. */

async function listen(t: TestContext, server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    if ("closeAllConnections" in server) (server.closeAllConnections as () => void)();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function site(t: TestContext, handle: (sessions: Sessions) => RequestListener): Promise<string> {
  const sessions = createSessions({ store: memory() });
  t.after(() => sessions.close());
  return listen(t, createServer(handle(sessions)));
}

const cookieOf = (lines: readonly string[]): string =>
  lines.find((line) => line.startsWith("__Host-session="))?.split(";", 1)[0] ?? "";

test("over HTTP/2 a login sets its cookie beside the application's, and cookies sent in crumbs are put together", async (t) => {
  const sessions = createSessions({ store: memory() });
  t.after(() => sessions.close());
  const server = createHttp2Server((request: Http2ServerRequest, response: Http2ServerResponse) => {
    void (async () => {
      const session = await sessions.node(request, response);
      if (session === undefined) return;
      if (request.url === "/login") await session.establish({ principal: "ada" });
      if (request.url === "/login") response.setHeader("set-cookie", "theme=dark");
      response.end(session.principal ?? "nobody");
    })();
  });
  const client = connect(await listen(t, server));
  t.after(() => client.destroy());
  const ask = async (
    path: string,
    headers: Record<string, string | string[]> = {},
  ): Promise<{ status: number; cookies: string[]; body: string }> => {
    const stream = client.request({ ":path": path, ...headers });
    const [head] = (await once(stream, "response")) as [Record<string, unknown>];
    let body = "";
    for await (const chunk of stream) body += String(chunk);
    return { status: Number(head[":status"]), cookies: (head["set-cookie"] ?? []) as string[], body };
  };
  const origin = { ":method": "POST", origin: "http://evil.example" };
  assert.equal((await ask("/login", origin)).status, 403, "another origin than :authority");
  const login = await ask("/login", { ":method": "POST" });
  assert.equal(login.cookies.length, 2);
  assert.ok(login.cookies.includes("theme=dark"));
  const own = cookieOf(login.cookies);
  assert.equal((await ask("/", { cookie: ["a=b", own, "c=d"] })).body, "ada");
  assert.equal((await ask("/", { cookie: [own, `__Host-session=${"A".repeat(43)}`] })).body, "nobody");
});

test("several Cookie headers count as one, and a planted second session cookie makes none of them count", async (t) => {
  const base = await site(t, (sessions) => async (request, response) => {
    const session = await sessions.node(request, response);
    if (session === undefined) return;
    if (request.method === "POST") await session.establish({ principal: "ada" });
    response.end(session.principal ?? "nobody");
  });
  const own = cookieOf((await fetch(base, { method: "POST" })).headers.getSetCookie());
  const ask = async (cookie: string | string[]): Promise<{ status: number | undefined; body: string }> => {
    const request = httpRequest(base);
    request.setHeader("cookie", cookie);
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode, body };
  };
  assert.equal((await ask(["a=b", own, "c=d"])).body, "ada");
  assert.equal((await ask([own, own])).body, "ada", "the same twice is the same");
  assert.equal((await ask([own, `__Host-session=${"A".repeat(43)}`])).body, "nobody");
  assert.equal((await ask(["x".repeat(5000), "y".repeat(5000)])).status, 431, "together they are too long");
  assert.equal((await ask("z".repeat(20_000))).status, 431, "Node's own limit says the same");
});

test("however an application writes its head, the session's cookie is on it once", async (t) => {
  const heads: Readonly<Record<string, (response: Parameters<RequestListener>[1]) => void>> = {
    "/object": (response) => response.writeHead(200, { "Set-Cookie": ["theme=dark", "lang=en"] }),
    "/list": (response) => response.writeHead(200, ["Set-Cookie", "theme=dark", "X-Other", "1"]),
    "/reason": (response) => response.writeHead(200, "Fine", { "set-cookie": "theme=dark" }),
    "/append": (response) => response.appendHeader("set-cookie", "theme=dark").writeHead(200),
    "/set": (response) => response.setHeader("Set-Cookie", "theme=dark"),
    "/flush": (response) => response.setHeader("Set-Cookie", "theme=dark").flushHeaders(),
    "/removed": (response) => response.removeHeader("set-cookie"),
  };
  const base = await site(t, (sessions) => async (request, response) => {
    const session = await sessions.node(request, response);
    await session?.establish({ principal: "ada" });
    heads[request.url ?? ""]?.(response);
    response.end("ok");
  });
  for (const path of Object.keys(heads)) {
    const lines = (await fetch(base + path, { method: "POST" })).headers.getSetCookie();
    assert.equal(lines.filter((line) => line.startsWith("__Host-session=")).length, 1, path);
    if (path !== "/removed")
      assert.ok(
        lines.some((line) => line.startsWith("theme=dark")),
        path,
      );
  }
});

test("a stream that begins while a login is being stored carries its cookie, and comes whole and in order", async (t) => {
  const base = await site(t, (sessions) => async (request, response) => {
    const session = await sessions.node(request, response);
    if (session === undefined) return;
    void session.establish({ principal: "ada" });
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < 200; i++) {
      if (!response.write(`data: ${i} ${"x".repeat(1000)}\n\n`)) await once(response, "drain");
    }
    response.end();
  });
  const response = await fetch(base, { method: "POST" });
  assert.notEqual(cookieOf(response.headers.getSetCookie()), "");
  const numbers = [...(await response.text()).matchAll(/^data: (\d+) /gm)].map(([, number]) =>
    Number(number),
  );
  assert.deepEqual(
    numbers,
    Array.from({ length: 200 }, (_, i) => i),
  );
});

test("a client that goes away while a change is being stored hurts nobody, and the change is kept", async (t) => {
  const store = memory();
  const sessions = createSessions<{ n: number }>({ store, initial: { n: 0 } });
  t.after(() => sessions.close());
  let left: (() => void) | undefined;
  const gone = new Promise<void>((resolve) => (left = resolve));
  const handle: RequestListener = async (request, response) => {
    const session = await sessions.node(request, response);
    if (session === undefined) return;
    if (request.url === "/login") await session.establish({ principal: "ada" });
    if (request.url === "/slow") {
      request.socket.once("close", () => left?.());
      response.write("begun");
      request.socket.destroy();
      await gone;
      await session.update((data) => void data.n++);
    }
    response.end(String(session.data?.n));
  };
  const base = await listen(t, createServer(handle));
  const cookie = cookieOf((await fetch(`${base}/login`, { method: "POST" })).headers.getSetCookie());
  await assert.rejects(async () =>
    (await fetch(`${base}/slow`, { method: "POST", headers: { cookie } })).text(),
  );
  const deadline = Date.now() + 30_000;
  while ((await (await fetch(base, { headers: { cookie } })).text()) !== "1")
    assert.ok(Date.now() < deadline, "the change was lost");
});

const throwing: Readonly<Record<string, (t: TestContext, sessions: Sessions) => Promise<string>>> = {
  async express(t, sessions) {
    const { default: express } = await import("express");
    const app = express();
    app.set("env", "test");
    app.use(sessions.express());
    app.post("/", async (request) => {
      await sessions.of(request).establish({ principal: "ada" });
      throw new Error("the handler's own");
    });
    app.get("/", (request, response) => void response.send(sessions.of(request).principal ?? "nobody"));
    return listen(t, createServer(app));
  },
  async fastify(t, sessions) {
    const { default: fastify } = await import("fastify");
    const app = fastify();
    await app.register(sessions.fastify());
    app.post("/", async (request) => {
      await sessions.of(request).establish({ principal: "ada" });
      throw new Error("the handler's own");
    });
    app.get("/", async (request) => sessions.of(request).principal ?? "nobody");
    t.after(() => app.close());
    return app.listen({ host: "127.0.0.1", port: 0 });
  },
  async hono(t, sessions) {
    const { Hono } = await import("hono");
    const { getRequestListener } = await import("@hono/node-server");
    const app = new Hono();
    app.onError((_error, context) => context.text("failed", 500));
    app.use(sessions.hono());
    app.post("/", async (context) => {
      await sessions.of(context).establish({ principal: "ada" });
      throw new Error("the handler's own");
    });
    app.get("/", (context) => context.text(sessions.of(context).principal ?? "nobody"));
    return listen(t, createServer(getRequestListener((request) => app.fetch(request))));
  },
  async koa(t, sessions) {
    const { default: Koa } = await import("koa");
    const app = new Koa();
    app.silent = true;
    app.use(sessions.koa());
    app.use(async (context) => {
      const session = sessions.of(context);
      if (context.method === "GET") {
        context.body = session.principal ?? "nobody";
        return;
      }
      await session.establish({ principal: "ada" });
      throw new Error("the handler's own");
    });
    return listen(t, createServer(app.callback()));
  },
};

for (const [name, start] of Object.entries(throwing)) {
  test(`${name}: a handler that fails after the login answers 500, and the browser still gets the login that was made`, async (t) => {
    const sessions = createSessions({ store: memory() });
    t.after(() => sessions.close());
    const base = await start(t, sessions);
    const failed = await fetch(base, { method: "POST" });
    assert.equal(failed.status, 500);
    const cookie = cookieOf(failed.headers.getSetCookie());
    assert.equal(await (await fetch(base, { headers: { cookie } })).text(), "ada");
  });
}
