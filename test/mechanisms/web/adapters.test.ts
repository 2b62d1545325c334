import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { HoldfastError } from "../../../src/kernel/index.ts";
import type { SessionsOptions } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import type { Running } from "./servers.ts";
import { app, Jar, servers } from "./servers.ts";

const post = { method: "POST" };

for (const [name, start] of Object.entries(servers)) {
  describe(name, () => {
    const run = (
      title: string,
      body: (site: Running, jar: Jar) => Promise<void>,
      options: SessionsOptions = {},
    ): void => {
      test(title, async () => {
        const site = await start({ store: memory(), ...options }, app);
        try {
          await body(site, new Jar());
        } finally {
          await site.close();
        }
      });
    };

    run("signs in with a hardened cookie, recognises it, and signs out", async ({ base }, jar) => {
      assert.equal((await jar.fetch(base)).status, 401);
      const login = await jar.fetch(`${base}/login`, post);
      assert.equal(await login.text(), "in");
      const [line = ""] = login.headers.getSetCookie();
      assert.match(
        line,
        /^__Host-session=[\w-]{43}; Path=\/; Max-Age=43200; Secure; HttpOnly; SameSite=Lax$/,
      );
      assert.equal(login.headers.get("cache-control"), "no-store");
      assert.equal(await (await jar.fetch(`${base}/x`)).text(), "GET alice 0");
      const thief = jar.copy();
      const logout = await jar.fetch(`${base}/logout`, post);
      assert.equal(logout.headers.get("clear-site-data"), '"cache", "storage"');
      assert.equal(jar.session, "");
      assert.equal((await thief.fetch(base)).status, 401);
    });

    run("stores nothing for anonymous visitors", async ({ base, sessions }, jar) => {
      for (let i = 0; i < 20; i++) {
        const response = await jar.fetch(base);
        assert.deepEqual(response.headers.getSetCookie(), []);
      }
      for await (const record of sessions.kernel.sessions({ all: true }))
        assert.fail(`${record.handle} was stored`);
    });

    run(
      "keeps what an anonymous visitor did when they sign in, under a new secret",
      async ({ base }, jar) => {
        await jar.fetch(`${base}/count`, post);
        await jar.fetch(`${base}/count`, post);
        const before = jar.copy();
        await jar.fetch(`${base}/login`, post);
        assert.notEqual(jar.session, before.session);
        assert.equal(await (await jar.fetch(base)).text(), "GET alice 2");
        assert.equal((await before.fetch(base)).status, 401, "the id from before the login is worth nothing");
      },
    );

    run("lets no response out before what it speaks of is stored", async ({ base, sessions }, jar) => {
      const login = await jar.fetch(`${base}/login-unawaited`, post);
      assert.equal(await login.text(), "in, but not waited for");
      assert.equal(jar.session.length, 43);
      const slow = sessions.kernel.store.update.bind(sessions.kernel.store);
      let written = false;
      sessions.kernel.store.update = async (...args) => {
        for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
        const outcome = await slow(...args);
        written = true;
        return outcome;
      };
      assert.equal(await (await jar.fetch(`${base}/count-unawaited`, post)).text(), "counting");
      assert.ok(written);
    });

    run("puts its cookie beside the application's own", async ({ base }, jar) => {
      const response = await jar.fetch(`${base}/own-cookie`, post);
      const names = new Set(response.headers.getSetCookie().map((line) => line.split("=", 1)[0]));
      assert.deepEqual(names, new Set(["theme", "__Host-session"]));
    });

    run("counts every one of many concurrent updates", async ({ base, sessions }, jar) => {
      await jar.fetch(`${base}/login`, post);
      await Promise.all(Array.from({ length: 25 }, () => jar.copy().fetch(`${base}/count`, post)));
      const [mine] = await sessions.list("alice");
      assert.ok(mine);
      assert.deepEqual((await sessions.kernel.lookUp(mine.handle))?.data, { n: 25 });
    });

    run(
      "refuses unsafe requests from other sites, and takes safe ones and those of trusted origins",
      async ({ base }, jar) => {
        await jar.fetch(`${base}/login`, post);
        const foreign = { "sec-fetch-site": "cross-site", origin: "https://evil.example" };
        const refused = await jar.fetch(`${base}/count`, { ...post, headers: foreign });
        assert.equal(refused.status, 403);
        assert.equal(((await refused.json()) as { code: string }).code, "cross-site");
        assert.equal(
          (await jar.fetch(`${base}/count`, { ...post, headers: { "sec-fetch-site": "same-site" } })).status,
          403,
        );
        assert.equal(
          (await jar.fetch(`${base}/count`, { ...post, headers: { origin: "https://evil.example" } })).status,
          403,
        );
        assert.equal((await jar.fetch(base, { headers: foreign })).status, 200);
        assert.equal(
          (await jar.fetch(`${base}/count`, { ...post, headers: { "sec-fetch-site": "same-origin" } }))
            .status,
          200,
        );
        assert.equal((await jar.fetch(`${base}/count`, { ...post, headers: { origin: base } })).status, 200);
        const trusted = { "sec-fetch-site": "cross-site", origin: "https://app.example" };
        assert.equal((await jar.fetch(`${base}/count`, { ...post, headers: trusted })).status, 200);
      },
      { csrf: { trustedOrigins: ["https://app.example"] } },
    );

    run(
      "treats malformed, oversized, doubled and foreign cookies as no session, and too long a header as 431",
      async ({ base }, jar) => {
        await jar.fetch(`${base}/login`, post);
        const good = jar.session;
        const cookies = [
          "__Host-session=",
          `__Host-session=${good}x`,
          `__Host-session=${"A".repeat(4000)}`,
          `__Host-session=${good}; __Host-session=${"A".repeat(43)}`,
          `x__Host-session=${good}`,
          `session=${good}`,
          ";;;=;=",
        ];
        for (const cookie of cookies) {
          const response = await fetch(base, { headers: { cookie } });
          assert.equal(response.status, 401, cookie);
        }
        assert.equal(
          (await fetch(base, { headers: { cookie: `a=b;__Host-session=${good} ; c=d` } })).status,
          200,
        );
        assert.equal((await fetch(base, { headers: { cookie: `a=${"b".repeat(9000)}` } })).status, 431);
        assert.equal((await jar.fetch(base)).status, 200);
      },
    );

    run(
      "answers 503 while the store is down, and the session is there again afterwards",
      async ({ base, sessions }, jar) => {
        await jar.fetch(`${base}/login`, post);
        const { store } = sessions.kernel;
        const [find, recall] = [store.find.bind(store), store.recall?.bind(store)];
        store.find = () => {
          throw new HoldfastError("store-unavailable", "down for the test");
        };
        store.recall = () => undefined;
        const down = await jar.fetch(base);
        assert.equal(down.status, 503);
        assert.equal(down.headers.get("retry-after"), "1");
        assert.deepEqual(down.headers.getSetCookie(), []);
        store.find = find;
        if (recall !== undefined) store.recall = recall;
        const update = store.update.bind(store);
        store.update = () => Promise.reject(new HoldfastError("store-unavailable", "down for the test"));
        // What an application does not catch is answered by its framework; node:http and fetch have none.
        if (["express", "fastify", "koa"].includes(name)) {
          assert.equal((await jar.fetch(`${base}/count`, post)).status, 503);
        }
        store.update = update;
        assert.equal((await jar.fetch(base)).status, 200);
      },
    );

    run(
      "takes bearer tokens where it is told to, with no cookie and no cross-site check",
      async ({ base }, jar) => {
        const token = await (await jar.fetch(`${base}/token`, post)).text();
        assert.equal(token.length, 43);
        assert.equal(jar.cookies.size, 0);
        const headers = { authorization: `Bearer ${token}`, "sec-fetch-site": "cross-site" };
        assert.equal((await fetch(`${base}/count`, { ...post, headers })).status, 200);
        assert.equal((await fetch(base, { headers: { authorization: `Basic ${token}` } })).status, 401);
      },
      { bearer: true },
    );

    run(
      "steps up under a new secret, and ends the others but not itself",
      async ({ base, sessions }, jar) => {
        await jar.fetch(`${base}/login`, post);
        const other = new Jar();
        await other.fetch(`${base}/login`, post);
        const before = jar.copy();
        assert.equal(await (await jar.fetch(`${base}/step-up`, post)).text(), "pwd otp");
        assert.equal((await before.fetch(base)).status, 401);
        assert.equal(await (await jar.fetch(`${base}/end-others`, post)).text(), "1");
        assert.equal((await other.fetch(base)).status, 401);
        assert.equal((await jar.fetch(base)).status, 200);
        assert.equal((await sessions.list("alice")).length, 1);
      },
    );

    run(
      "remembers a browser, notices a stolen remember token, and forgets on logout",
      async ({ base }, jar) => {
        await jar.fetch(`${base}/login-remembered`, post);
        jar.cookies.delete("__Host-session");
        const before = jar.copy();
        assert.equal(await (await jar.fetch(base)).text(), "GET alice 0");
        assert.equal(jar.session.length, 43);
        assert.notEqual(
          jar.cookies.get("__Host-session-remember"),
          before.cookies.get("__Host-session-remember"),
        );
        await jar.fetch(`${base}/logout`, post);
        assert.equal(jar.cookies.size, 0);
        assert.equal((await before.fetch(base)).status, 401);
      },
      { remember: "30d" },
    );
  });
}

test("requireFresh lets a recent login pass and challenges an old one", async () => {
  const { default: express } = await import("express");
  const { createServer } = await import("node:http");
  const { createSessions } = await import("../../../src/mechanisms/web/index.ts");
  const { createKernel, VirtualClock } = await import("../../../src/kernel/index.ts");
  const clock = new VirtualClock();
  const kernel = createKernel({ store: memory({ clock }), clock });
  const sessions = createSessions({ kernel });
  const site = express();
  site.use(sessions.express());
  site.post("/login", async (request, response) => {
    await sessions.of(request).establish({ principal: "alice", amr: ["pwd"] });
    response.end();
  });
  site.post("/email", sessions.requireFresh("5m"), (_request, response) => void response.end("changed"));
  const server = createServer(site);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const base = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  const jar = new Jar();
  assert.equal((await jar.fetch(`${base}/email`, post)).status, 401);
  await jar.fetch(`${base}/login`, post);
  assert.equal(await (await jar.fetch(`${base}/email`, post)).text(), "changed");
  clock.advance(300_001);
  const stale = await jar.fetch(`${base}/email`, post);
  assert.equal(stale.status, 401);
  assert.match(
    stale.headers.get("www-authenticate") ?? "",
    /insufficient_user_authentication", max_age="300"/,
  );
  server.closeAllConnections();
  server.close();
  await kernel.close();
});
