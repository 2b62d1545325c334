import { strict as assert } from "node:assert";
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, it } from "node:test";
import { serve as honoServe } from "@hono/node-server";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { chunk, send, serve, tus } from "./served.ts";
import type { Served } from "./served.ts";

/** The same three requests wherever the handler is mounted: create, append, fetch. */
const MOUNTS: readonly {
  readonly name: string;
  start(served: Served): Promise<{ port: number; readonly stop: () => Promise<void> }>;
}[] = [
  {
    name: "node:http",
    start: (served) =>
      listening(createServer((request, response) => void served.transfers.node(request, response))),
  },
  {
    name: "express",
    start: (served) => {
      const app = express();
      app.use("/files", (request, response) => void served.transfers.node(request, response));
      return listening(createServer(app));
    },
  },
  {
    name: "fastify",
    start: async (served) => {
      const app = fastify();
      app.removeAllContentTypeParsers();
      app.addContentTypeParser("*", (_request, _payload, done) => done(null));
      for (const url of ["/files", "/files/*"]) {
        app.all(url, async (request, reply) => {
          reply.hijack();
          await served.transfers.node(request.raw, reply.raw);
        });
      }
      await app.listen({ port: 0, host: "127.0.0.1" });
      return { port: (app.server.address() as AddressInfo).port, stop: () => app.close() };
    },
  },
  {
    name: "koa",
    start: (served) => {
      const app = new Koa();
      app.use(async (context) => {
        context.respond = false;
        await served.transfers.node(context.req, context.res);
      });
      const handler = app.callback();
      return listening(createServer((request, response) => void handler(request, response)));
    },
  },
  {
    name: "hono",
    start: async (served) => {
      const app = new Hono();
      app.all("/files/*", (context) => served.transfers.fetch(context.req.raw));
      app.all("/files", (context) => served.transfers.fetch(context.req.raw));
      const server = await new Promise<Server>((resolve) => {
        const started = honoServe({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, () =>
          resolve(started as Server),
        );
      });
      return { port: (server.address() as AddressInfo).port, stop: () => closed(server) };
    },
  },
];

describe("mounted in other servers", () => {
  let served: Served;
  const warnings: string[] = [];
  before(async () => {
    served = await serve({ onWarning: (warning) => warnings.push(warning) });
  });
  after(() => served.stop());

  for (const mount of MOUNTS) {
    it(mount.name, async () => {
      const { port, stop } = await mount.start(served);
      try {
        const origin = `http://127.0.0.1:${port}`;
        const made = await send("POST", `${origin}/files`, tus({ "Upload-Length": "3000000" }));
        assert.equal(made.status, 201);
        const url = new URL(made.headers.location ?? "", origin).href;
        const content = Buffer.alloc(3_000_000, 7);
        assert.equal((await send("PATCH", url, chunk(5), "wrong")).status, 409);
        assert.equal((await send("PATCH", url, chunk(0), content.subarray(0, 1_000_000))).status, 204);
        assert.equal(
          (await send("PATCH", url, chunk(1_000_000), content.subarray(1_000_000))).headers["upload-offset"],
          "3000000",
        );
        const got = await send("GET", url, { Range: "bytes=10-2999999" });
        assert.equal(got.status, 206);
        assert.deepEqual(got.body, content.subarray(10));
        assert.equal((await send("HEAD", `${origin}/files/unknown`, tus())).status, 404);
      } finally {
        await stop();
      }
    });
  }

  it("a server that cuts long requests off is warned of, once", () => {
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /requestTimeout of the HTTP server is 300000 ms/);
  });

  it("browsers of allowed origins may upload, others may not", async () => {
    const open = await serve({ policy: { cors: ["https://app.example"] } });
    const preflight = await send("OPTIONS", open.url, {
      Origin: "https://app.example",
      "Access-Control-Request-Method": "PATCH",
    });
    assert.equal(preflight.headers["access-control-allow-origin"], "https://app.example");
    assert.match(String(preflight.headers["access-control-allow-headers"]), /Upload-Offset/);
    const made = await send("POST", open.url, tus({ "Upload-Length": "1", Origin: "https://app.example" }));
    assert.match(String(made.headers["access-control-expose-headers"]), /Location/);
    const other = await send("OPTIONS", open.url, { Origin: "https://evil.example" });
    assert.equal(other.headers["access-control-allow-origin"], undefined);
    await open.stop();
  });
});

async function listening(server: Server): Promise<{ port: number; readonly stop: () => Promise<void> }> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, stop: () => closed(server) };
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
