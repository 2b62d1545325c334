import assert from "node:assert/strict";
import { once } from "node:events";
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, test } from "node:test";
import { getRequestListener } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import type { Kernel } from "../../../src/kernel/index.ts";
import { createKernel, VirtualClock } from "../../../src/kernel/index.ts";
import type { Sessions, SessionsOptions, WebSession } from "../../../src/mechanisms/web/index.ts";
import { createSessions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** Browsers send requests together, sign in again, and come back with all their tabs. In virtual time, no network. */

interface Place {
  readonly sessions: Sessions;
  readonly kernel: Kernel;
  readonly clock: VirtualClock;
}

const kernels: Kernel[] = [];
after(async () => {
  for (const kernel of kernels) await kernel.close();
});

function place(options: SessionsOptions = {}): Place {
  const clock = new VirtualClock();
  const kernel = createKernel({ store: memory({ clock }), clock });
  kernels.push(kernel);
  return { sessions: createSessions({ kernel, ...options }), kernel, clock };
}

type Jar = Readonly<Record<string, string>>;

interface Answer {
  readonly status: number;
  readonly principal: string | undefined;
  /** What the browser has once it has read this answer alone. */
  readonly jar: Jar;
}

const SESSION = "__Host-session";
const REMEMBER = "__Host-session-remember";

async function visit(
  { sessions }: Place,
  jar: Jar,
  what: {
    readonly init?: RequestInit;
    readonly headers?: Record<string, string>;
    readonly act?: (session: WebSession) => Promise<unknown>;
  } = {},
): Promise<Answer> {
  const cookie = Object.entries(jar)
    .map(([name, value]) => `${name}=${value}`)
    .join("; ");
  const request = new Request("http://app.example/", {
    ...what.init,
    headers: { ...(cookie !== "" && { cookie }), ...what.headers },
  });
  const { visitor, refused, commit } = await sessions.open(request);
  if (refused === undefined) await what.act?.(visitor);
  const response = refused ?? (await commit(new Response()));
  const kept: Record<string, string> = { ...jar };
  for (const line of response.headers.getSetCookie()) {
    const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (value === "") delete kept[name];
    else kept[name] = value;
  }
  return { status: response.status, principal: visitor.principal, jar: kept };
}

const signIn = async (at: Place, jar: Jar = {}, principal = "ada", remember = false): Promise<Jar> =>
  (await visit(at, jar, { act: (session) => session.establish({ principal, amr: ["pwd"], remember }) })).jar;

const who = async (at: Place, jar: Jar): Promise<string | undefined> => (await visit(at, jar)).principal;

const names = (answers: readonly Answer[]): unknown[] => answers.map((answer) => answer.principal);

test("requests that come together when it is time to rotate: one gets the new secret, all get in, nobody is a thief", async () => {
  const at = place({ rotateEvery: "10m" });
  const before = await signIn(at);
  at.clock.advance(600_000);
  const answers = await Promise.all(Array.from({ length: 8 }, () => visit(at, before)));
  assert.deepEqual(
    names(answers),
    Array.from({ length: 8 }, () => "ada"),
  );
  const fresh = new Set(answers.map(({ jar }) => jar[SESSION]).filter((one) => one !== before[SESSION]));
  assert.equal(fresh.size, 1, "whichever answer the browser reads last, it keeps the one that counts");
  assert.equal(await who(at, before), "ada", "within the grace");
  at.clock.advance(10_001);
  const [secret = ""] = fresh;
  assert.equal(await who(at, { [SESSION]: secret }), "ada");
});

test("a logout that comes between a request and its rotation is a logout, not an outage", async () => {
  const at = place({ rotateEvery: "10m" });
  const jar = await signIn(at);
  at.clock.advance(600_000);
  const { store } = at.kernel;
  const update = store.update.bind(store);
  const [mine] = await at.sessions.list("ada");
  assert.ok(mine);
  store.update = async (...args) => {
    if (!args[2].some(({ event }) => event === "rotate")) return update(...args);
    store.update = update;
    await at.kernel.end(mine.handle, { reason: "logout" });
    return update(...args);
  };
  const answer = await visit(at, jar);
  assert.deepEqual([answer.status, answer.principal], [200, undefined]);
});

test("a browser that restores all its tabs comes back once, with one session and one new token", async () => {
  const at = place({ remember: "30d", idle: "30m", limits: { perPrincipal: 2, onLimit: "evict-oldest" } });
  const elsewhere = await signIn(at);
  const { [REMEMBER]: token = "" } = await signIn(at, {}, "ada", true);
  at.clock.advance(1_700_000);
  assert.equal(await who(at, elsewhere), "ada");
  at.clock.advance(200_000);
  const answers = await Promise.all(Array.from({ length: 6 }, () => visit(at, { [REMEMBER]: token })));
  answers.push(await visit(at, { [REMEMBER]: token }));
  assert.deepEqual(
    names(answers),
    Array.from({ length: 7 }, () => "ada"),
  );
  assert.equal((await at.sessions.list("ada")).length, 2, "one here, one elsewhere");
  assert.equal(await who(at, elsewhere), "ada");
  const bearers = answers.filter(({ jar }) => jar[SESSION] !== undefined);
  assert.equal(bearers.length, 1);
  assert.notEqual(bearers[0]?.jar[REMEMBER], token);
  at.clock.advance(10_001);
  assert.equal(await who(at, bearers[0]?.jar ?? {}), "ada");
  assert.equal(await who(at, { [REMEMBER]: bearers[0]?.jar[REMEMBER] ?? "" }), "ada");
  assert.equal(
    await who(at, { [REMEMBER]: token }),
    undefined,
    "a token used after its time is a stolen one",
  );
  assert.equal(await who(at, bearers[0]?.jar ?? {}), undefined);
});

test("a remembered browser that the limit refuses is a visitor, not an outage", async () => {
  const at = place({ remember: "30d", idle: "30m", limits: { perPrincipal: 1, onLimit: "refuse" } });
  const { [REMEMBER]: token = "" } = await signIn(at, {}, "ada", true);
  at.clock.advance(1_800_001);
  await signIn(at);
  const answer = await visit(at, { [REMEMBER]: token });
  assert.deepEqual([answer.status, answer.principal], [200, undefined]);
});

test("a browser that signs in again takes its own place under the limit, and nobody else's", async () => {
  const evicting = place({ limits: { perPrincipal: 2, onLimit: "evict-oldest" } });
  const other = await signIn(evicting);
  evicting.clock.advance(1);
  let mine = await signIn(evicting);
  evicting.clock.advance(1);
  mine = await signIn(evicting, mine);
  assert.deepEqual([await who(evicting, other), await who(evicting, mine)], ["ada", "ada"]);

  const refusing = place({ limits: { perPrincipal: 1, onLimit: "refuse" } });
  const again = await signIn(refusing, await signIn(refusing));
  assert.equal(await who(refusing, again), "ada");
  await assert.rejects(signIn(refusing), /may have 1 web sessions/);
});

test("a session whose time is over does not count for the limit, swept or not", async () => {
  const at = place({ idle: "1m", limits: { perPrincipal: 1, onLimit: "refuse" } });
  await signIn(at);
  at.clock.advance(60_000);
  assert.equal(await who(at, await signIn(at)), "ada");
});

test("a remembered browser that gives way to the limit does not come straight back", async () => {
  const at = place({ remember: "30d", limits: { perPrincipal: 1, onLimit: "evict-oldest" } });
  const first = await signIn(at, {}, "ada", true);
  at.clock.advance(1);
  const second = await signIn(at);
  assert.equal(await who(at, first), undefined);
  assert.equal(await who(at, second), "ada");
});

test("a bearer token excuses a request from the cross-site check, and then its cookies do not count", async () => {
  const at = place({ bearer: true, remember: "30d" });
  const jar = await signIn(at, {}, "ada", true);
  const headers = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
  const init = { method: "POST" };
  assert.equal((await visit(at, jar, { init, headers })).status, 403);
  const excused = await visit(at, jar, { init, headers: { ...headers, authorization: "Bearer anything" } });
  assert.deepEqual([excused.status, excused.principal], [200, undefined]);
});

test("two kinds of login on one application each find their own session, whatever serves it", async () => {
  const asked = async (base: string, cookie = "", method = "GET"): Promise<Response> =>
    fetch(base, { method, headers: { ...(cookie !== "" && { cookie }) } });
  for (const [name, serve] of Object.entries(twice)) {
    const shop = place().sessions;
    const office = place({ cookie: { name: "__Host-office" } }).sessions;
    const { base, close } = await serve(shop, office, async (carrier, method) => {
      if (method === "POST") {
        await shop.of(carrier).establish({ principal: "customer" });
        await office.of(carrier).establish({ principal: "clerk" });
      }
      return `${shop.of(carrier).principal} ${office.of(carrier).principal}`;
    });
    const login = await asked(base, "", "POST");
    assert.equal(await login.text(), "customer clerk", name);
    const cookies = login.headers.getSetCookie().map((line) => line.split(";", 1)[0] ?? "");
    assert.equal(cookies.length, 2, name);
    const customer = cookies.find((one) => one.startsWith("__Host-session=")) ?? "";
    const clerk = cookies.find((one) => one.startsWith("__Host-office=")) ?? "";
    assert.equal(await (await asked(base, `${customer}; ${clerk}`)).text(), "customer clerk", name);
    assert.equal(await (await asked(base, customer)).text(), "customer undefined", name);
    assert.equal(await (await asked(base, clerk)).text(), "undefined clerk", name);
    await close();
  }
});

type Answering = (carrier: object, method: string) => Promise<string>;
type Twice = (
  a: Sessions,
  b: Sessions,
  answer: Answering,
) => Promise<{ base: string; readonly close: () => Promise<unknown> }>;

const twice: Readonly<Record<string, Twice>> = {
  async "node:http"(a, b, answer) {
    return listening(
      createServer(async (request, response) => {
        await a.node(request, response);
        await b.node(request, response);
        response.end(await answer(request, request.method ?? ""));
      }),
    );
  },
  async express(a, b, answer) {
    const app = express().use(a.express(), b.express());
    app.use(async (request, response) => void response.send(await answer(request, request.method)));
    return listening(createServer(app));
  },
  async fastify(a, b, answer) {
    const app = fastify();
    await app.register(a.fastify());
    await app.register(b.fastify());
    app.all("/", (request) => answer(request, request.method));
    return { base: await app.listen({ host: "127.0.0.1", port: 0 }), close: () => app.close() };
  },
  async hono(a, b, answer) {
    const app = new Hono().use(a.hono(), b.hono());
    app.all("*", async (context) => context.text(await answer(context, context.req.method)));
    return listening(createServer(getRequestListener((request) => app.fetch(request))));
  },
  async koa(a, b, answer) {
    const app = new Koa().use(a.koa()).use(b.koa());
    app.use(async (context) => void (context.body = await answer(context, context.method)));
    return listening(createServer(app.callback()));
  },
};

async function listening(server: Server): Promise<{ base: string; readonly close: () => Promise<unknown> }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { base: `http://127.0.0.1:${port}/`, close };
}
