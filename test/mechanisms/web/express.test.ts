import assert from "node:assert/strict";
import type { RequestListener } from "node:http";
import { createServer, IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import express from "express";
import type { Sessions } from "../../../src/mechanisms/web/index.ts";
import { createSessions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";

/** What a program without our types sees. */
const sessionOf = (request: object): unknown => Reflect.get(request, "session");

function principalOf(request: object): unknown {
  const session = sessionOf(request);
  return typeof session === "object" && session !== null ? (Reflect.get(session, "principal") ?? null) : null;
}

async function served<T>(listener: RequestListener, use: (base: string) => Promise<T>): Promise<T> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function signedIn(sessions: Sessions, base: string): Promise<{ headers: { cookie: string } }> {
  const response = await fetch(`${base}/login`);
  assert.equal(response.status, 200, await response.text());
  const [line = ""] = response.headers.getSetCookie();
  assert.equal((await sessions.list("ada")).length, 1);
  return { headers: { cookie: line.split(";", 1)[0] ?? "" } };
}

test("req.session is there in routers, in mounted applications and in error handlers, and nowhere before", async () => {
  const sessions = createSessions({ store: memory() });
  const app = express();
  app.get(
    "/before",
    (request, response) => void response.json("session" in request && typeof sessionOf(request)),
  );
  app.use(sessions.express());
  app.get("/login", async (request, response) => {
    await sessions.of(request).establish({ principal: "ada" });
    response.end("in");
  });
  const router = express.Router();
  router.get("/", (request, response) => void response.json(principals(request)));
  app.use("/router", router);
  const mounted = express();
  mounted.get("/", (request, response) => void response.json(principals(request)));
  app.use("/mounted", mounted);
  app.get("/fails", () => {
    throw new Error("on purpose");
  });
  app.use(((_error, request, response, _next) => {
    response.json(principals(request));
  }) satisfies express.ErrorRequestHandler);

  await served(app, async (base) => {
    const ada = await signedIn(sessions, base);
    for (const path of ["/router", "/mounted", "/fails"]) {
      const answer = await fetch(base + path, ada);
      assert.deepEqual(await answer.json(), ["ada", "ada"], path);
      assert.deepEqual(await (await fetch(base + path)).json(), [null, null], `${path} of nobody`);
    }
    const before: unknown = await (await fetch(`${base}/before`, ada)).json();
    assert.ok(before === false || before === "undefined", "a route that the middleware does not reach");
  });
  assert.equal("session" in IncomingMessage.prototype, false, "other programs' requests stay as they were");
  await sessions.close();

  function principals(request: object): unknown[] {
    return [principalOf(request), sessions.of(request).principal ?? null];
  }
});

test("another middleware may put something else in the place of req.session", async () => {
  const sessions = createSessions({ store: memory() });
  const app = express();
  app.use(sessions.express());
  app.get("/", (request, response) => {
    Object.assign(request, { session: { mine: true } });
    assert.throws(() => sessions.of(request), { code: "invalid-argument" });
    response.json(sessionOf(request));
  });
  app.get("/next", (request, response) => void response.json(sessions.of(request).exists));
  await served(app, async (base) => {
    assert.deepEqual(await (await fetch(base)).json(), { mine: true });
    assert.equal(await (await fetch(`${base}/next`)).json(), false, "of one request only");
  });
  await sessions.close();
});

test("two applications of one process keep their sessions apart", async () => {
  const [one, other] = [createSessions({ store: memory() }), createSessions({ store: memory() })];
  const appOf = (sessions: Sessions): RequestListener => {
    const app = express();
    app.use(sessions.express());
    app.get("/login", async (request, response) => {
      await sessions.of(request).establish({ principal: "ada" });
      response.end("in");
    });
    app.get("/", (request, response) => void response.json(sessions.of(request).principal ?? null));
    return app;
  };
  await served(appOf(one), (base) =>
    served(appOf(other), async (elsewhere) => {
      const ada = await signedIn(one, base);
      assert.equal(await (await fetch(base, ada)).json(), "ada");
      assert.equal(await (await fetch(elsewhere, ada)).json(), null);
    }),
  );
  await Promise.all([one.close(), other.close()]);
});

test("the middleware serves what takes Express's middleware without being Express", async () => {
  const sessions = createSessions({ store: memory() });
  const middleware = sessions.express();
  const listener: RequestListener = (request, response) => {
    middleware(request, response, () => {
      if (request.url === "/login")
        void sessions
          .of(request)
          .establish({ principal: "ada" })
          .then(() => response.end("in"));
      else response.end(JSON.stringify(principalOf(request)));
    });
  };
  await served(listener, async (base) => {
    const ada = await signedIn(sessions, base);
    assert.equal(await (await fetch(base, ada)).json(), "ada");
    assert.equal(await (await fetch(base)).json(), null);
  });
  assert.equal("session" in IncomingMessage.prototype, false);
  await sessions.close();
});
