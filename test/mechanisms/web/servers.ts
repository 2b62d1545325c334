import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import type { Sessions, SessionsOptions, WebSession } from "../../../src/mechanisms/web/index.ts";
import { createSessions } from "../../../src/mechanisms/web/index.ts";

export type Data = { n: number; note?: string };

/** What the application under test answers: written once, and served by each framework. */
export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export type App = (session: WebSession<Data>, method: string, path: string) => Promise<Answer> | Answer;

export interface Running {
  readonly base: string;
  readonly sessions: Sessions<Data>;
  close(): Promise<void>;
}

export type Start = (options: SessionsOptions, app: App) => Promise<Running>;

/** One way to start the application for each server there is an adapter for. */
export const servers: Readonly<Record<string, Start>> = {
  "node:http": async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const server = createServer(async (request, response) => {
      const session = await sessions.node(request, response);
      if (session === undefined) return;
      const answer = await app(session, request.method ?? "", request.url ?? "");
      response.writeHead(answer.status, { ...answer.headers });
      response.write(answer.body.slice(0, 1));
      response.end(answer.body.slice(1));
    });
    await listen(server);
    return running(server, sessions);
  },
  express: async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const site = express();
    site.use(sessions.express());
    site.use(async (request, response) => {
      const answer = await app(sessions.of(request), request.method, request.url);
      response
        .status(answer.status)
        .set({ ...answer.headers })
        .send(answer.body);
    });
    const server = createServer(site);
    await listen(server);
    return running(server, sessions);
  },
  fastify: async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const site = fastify();
    await site.register(sessions.fastify());
    site.all("/*", async (request, reply) => {
      const answer = await app(sessions.of(request), request.method, request.url);
      return reply
        .code(answer.status)
        .headers({ ...answer.headers })
        .send(answer.body);
    });
    await site.listen({ host: "127.0.0.1", port: 0 });
    const close = async (): Promise<void> => {
      await site.close();
      await sessions.close();
    };
    return { ...running(site.server, sessions), close };
  },
  hono: async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const site = new Hono();
    site.use(sessions.hono());
    site.all("*", async (context) => {
      const answer = await app(sessions.of(context), context.req.method, context.req.path);
      return new Response(answer.body, { status: answer.status, headers: { ...answer.headers } });
    });
    const server = await new Promise<Server>((resolve) => {
      const started = serve({ fetch: (request) => site.fetch(request), hostname: "127.0.0.1", port: 0 }, () =>
        resolve(started as Server),
      );
    });
    return running(server, sessions);
  },
  koa: async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const site = new Koa();
    site.use(sessions.koa());
    site.use(async (context) => {
      const answer = await app(sessions.of(context), context.method, context.url);
      context.status = answer.status;
      context.set({ ...answer.headers });
      context.body = answer.body;
    });
    const server = createServer(site.callback());
    await listen(server);
    return running(server, sessions);
  },
  fetch: async (options, app) => {
    const sessions = createSessions<Data>({ ...options, initial: { n: 0 } });
    const handler = async (request: Request): Promise<Response> => {
      const { visitor, commit, refused } = await sessions.open(request);
      if (refused !== undefined) return refused;
      const answer = await app(visitor, request.method, new URL(request.url).pathname);
      return commit(new Response(answer.body, { status: answer.status, headers: { ...answer.headers } }));
    };
    const server = await new Promise<Server>((resolve) => {
      const started = serve({ fetch: handler, hostname: "127.0.0.1", port: 0 }, () =>
        resolve(started as Server),
      );
    });
    return running(server, sessions);
  },
};

function listen(server: Server): Promise<void> {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
}

function running(server: Server, sessions: Sessions<Data>): Running {
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessions,
    async close() {
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      await sessions.close();
    },
  };
}

/** A browser's cookie jar, as far as these tests need one. */
export class Jar {
  readonly cookies: Map<string, string> = new Map();

  async fetch(
    url: string,
    init: Omit<RequestInit, "headers"> & { headers?: Record<string, string> } = {},
  ): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, {
      redirect: "manual",
      ...init,
      headers: { ...(cookie !== "" && { cookie }), ...init.headers },
    });
    for (const line of response.headers.getSetCookie()) {
      const attributes = line.split("; ");
      const pair = attributes[0] ?? "";
      const name = pair.slice(0, pair.indexOf("="));
      const value = pair.slice(name.length + 1);
      if (attributes.includes("Max-Age=0")) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return response;
  }

  get session(): string {
    return this.cookies.get("__Host-session") ?? "";
  }

  copy(): Jar {
    const jar = new Jar();
    for (const [name, value] of this.cookies) jar.cookies.set(name, value);
    return jar;
  }
}

/** The application of the tests: a path for each thing a session can do. */
export const app: App = async (session, method, path) => {
  switch (path) {
    case "/login":
      await session.establish({ principal: "alice", amr: ["pwd"], aal: 1 });
      return { status: 200, body: "in" };
    case "/login-remembered":
      await session.establish({ principal: "alice", amr: ["pwd"], remember: true });
      return { status: 200, body: "in" };
    case "/login-unawaited":
      void session.establish({ principal: "alice", amr: ["pwd"] });
      return { status: 200, body: "in, but not waited for" };
    case "/token": {
      const { token } = await session.establish({ principal: "alice", amr: ["pwd"], transport: "token" });
      return { status: 200, body: token?.reveal() ?? "" };
    }
    case "/step-up":
      await session.stepUp({ amr: ["otp"], aal: 2 });
      return { status: 200, body: session.amr.join(" ") };
    case "/rotate":
      await session.rotate();
      return { status: 200, body: "rotated" };
    case "/count":
      await session.update((data) => void data.n++);
      return { status: 200, body: String(session.data?.n) };
    case "/count-unawaited":
      void session.update((data) => void data.n++);
      return { status: 200, body: "counting" };
    case "/end-others":
      return { status: 200, body: String(await session.endOthers()) };
    case "/logout":
      await session.logout();
      return { status: 200, body: "out" };
    case "/own-cookie":
      await session.establish({ principal: "alice" });
      return { status: 200, body: "both", headers: { "set-cookie": "theme=dark" } };
    default:
      return session.principal === undefined
        ? { status: 401, body: "nobody" }
        : { status: 200, body: `${method} ${session.principal} ${session.data?.n}` };
  }
};
