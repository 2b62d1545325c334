/**
 * One way to keep sessions under load, in a process of its own: `server.js VARIANT [REDIS SOCKET]`. On a second port the
 * same process serves the same without sessions: two processes that do the very same differ by more than a session costs.
 * Answers `cpu` over IPC.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fastifyCookie from "@fastify/cookie";
import fastifySession from "@fastify/session";
import { RedisStore } from "connect-redis";
import express from "express";
import expressSession from "express-session";
import fastify from "fastify";
import { getIronSession } from "iron-session";
import { createClient } from "redis";
import type { Json, SessionStore } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { memory } from "../../src/store/memory/index.ts";
import { redis } from "../../src/store/redis/index.ts";
import type { Sessions, WebSession } from "../../src/web.ts";
import { createSessions } from "../../src/web.ts";
import type { Base } from "./variants.ts";
import { baseOf } from "./variants.ts";

const [variant = "", socket = ""] = process.argv.slice(2);
const SECRET = "a password of at least thirty-two characters";
const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

declare module "express-session" {
  interface SessionData {
    user: string;
  }
}
declare module "fastify" {
  interface Session {
    user: string;
  }
}

function storeOf(name: string): SessionStore {
  if (name === "memory") return memory();
  if (name === "lmdb") return lmdb({ path: folder });
  return redis({ path: socket });
}

/** Whoever asks is alice: what is left of each server when nobody keeps sessions. */
const bases: Readonly<Record<Base, () => Promise<RequestListener>>> = {
  node: async () => (request, response) => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ user: "alice" }));
  },
  express: async () => {
    const app = express();
    app.get("/", (_request, response) => void response.type("json").end(JSON.stringify({ user: "alice" })));
    return app;
  },
  fastify: async () => {
    const app = fastify();
    app.get("/", async (_request, reply) =>
      reply.type("application/json").send(JSON.stringify({ user: "alice" })),
    );
    await app.ready();
    return (request, response) => app.routing(request, response);
  },
};

const variants: Readonly<Record<string, () => Promise<RequestListener>>> = {
  "holdfast-memory": () => holdfast("memory"),
  "holdfast-lmdb": () => holdfast("lmdb"),
  "holdfast-redis": () => holdfast("redis"),
  "iron-session": async () => (request, response) => {
    void (async () => {
      const session = await getIronSession<{ user?: string }>(request, response, {
        cookieName: "iron",
        password: SECRET,
      });
      response.setHeader("content-type", "application/json");
      if (request.url === "/login") {
        session.user = "alice";
        await session.save();
        response.end("in");
      } else response.end(JSON.stringify({ user: session.user }));
    })();
  },
  "express-holdfast-memory": async () => {
    const sessions = await loggedIn("memory");
    const app = express();
    app.use(sessions.express());
    app.get("/login", async (request, response) => {
      await sessions.of(request).establish({ principal: "alice" });
      response.end("in");
    });
    app.get(
      "/",
      (request, response) =>
        void response.type("json").end(JSON.stringify({ user: sessions.of(request).principal })),
    );
    return app;
  },
  "express-session-memory": async () => expressSessionApp(undefined),
  "express-session-redis": async () => {
    const client = createClient({ socket: { path: socket, tls: false } });
    await client.connect();
    return expressSessionApp(new RedisStore({ client }));
  },
  "fastify-holdfast-memory": async () => {
    const sessions = await loggedIn("memory");
    const app = fastify();
    await app.register(sessions.fastify());
    app.get("/login", async (request) => {
      await sessions.of(request).establish({ principal: "alice" });
      return "in";
    });
    app.get("/", async (request, reply) =>
      reply.type("application/json").send(JSON.stringify({ user: sessions.of(request).principal })),
    );
    await app.ready();
    return (request, response) => app.routing(request, response);
  },
  "fastify-session-memory": async () => {
    const app = fastify();
    await app.register(fastifyCookie);
    await app.register(fastifySession, { secret: SECRET, cookie: { secure: false } });
    app.get("/login", async (request) => {
      request.session.user = "alice";
      return "in";
    });
    app.get("/", async (request, reply) =>
      reply.type("application/json").send(JSON.stringify({ user: request.session.user })),
    );
    await app.ready();
    return (request, response) => app.routing(request, response);
  },
};

async function loggedIn(store: string): Promise<Sessions> {
  const sessions = createSessions({ store: storeOf(store) });
  await sessions.ready();
  return sessions;
}

async function holdfast(store: string): Promise<RequestListener> {
  const sessions = await loggedIn(store);
  return (request, response) => {
    const session = sessions.node(request, response);
    if (session instanceof Promise) void session.then((late) => answer(request, response, late));
    else answer(request, response, session);
  };

  function answer(
    request: IncomingMessage,
    response: ServerResponse,
    session: WebSession<Json> | undefined,
  ): void {
    if (session === undefined) return;
    response.setHeader("content-type", "application/json");
    if (request.url === "/login")
      void session.establish({ principal: "alice" }).then(() => response.end("in"));
    else response.end(JSON.stringify({ user: session.principal }));
  }
}

function expressSessionApp(store: expressSession.Store | undefined): RequestListener {
  const app = express();
  app.use(
    expressSession({
      secret: SECRET,
      resave: false,
      saveUninitialized: false,
      ...(store !== undefined && { store }),
    }),
  );
  app.get("/login", (request, response) => {
    request.session.user = "alice";
    response.end("in");
  });
  app.get(
    "/",
    (request, response) => void response.type("json").end(JSON.stringify({ user: request.session.user })),
  );
  return app;
}

const make = variants[variant];
if (make === undefined)
  throw new Error(`no variant ${variant}; there are ${Object.keys(variants).join(", ")}`);
const port = await listen(await make());
const basePort = await listen(await bases[baseOf(variant)]());
process.send?.({ port, basePort });
process.on("message", (message) => {
  if (message === "cpu") process.send?.({ cpu: process.cpuUsage() });
  if (message === "stop") process.exit(0);
});
process.on("disconnect", () => process.exit(0));

async function listen(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  server.keepAliveTimeout = 600_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
