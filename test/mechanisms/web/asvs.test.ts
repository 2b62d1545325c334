import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { Kernel, KernelOptions } from "../../../src/kernel/index.ts";
import { createKernel, isHoldfastError, VirtualClock } from "../../../src/kernel/index.ts";
import type { SessionsOptions, WebSession } from "../../../src/mechanisms/web/index.ts";
import { createSessions, presets } from "../../../src/mechanisms/web/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import type { Data, Running } from "./servers.ts";
import { app, Jar, servers } from "./servers.ts";

/** ASVS 5.0, every item that a session library can meet by itself; each test bears the item's number. */

interface Place extends Running {
  readonly clock: VirtualClock;
  readonly kernel: Kernel;
}

const places: Place[] = [];

async function place(
  options: SessionsOptions = {},
  kernelOptions: Partial<KernelOptions> = {},
): Promise<Place> {
  const clock = new VirtualClock();
  const kernel = createKernel({ store: memory({ clock }), clock, ...kernelOptions });
  const start = servers["node:http"];
  assert.ok(start);
  const site = { ...(await start({ kernel, ...options }, app)), clock, kernel };
  places.push(site);
  return site;
}

afterEach(async () => {
  for (const site of places.splice(0)) {
    await site.close();
    await site.kernel.close();
  }
});

const post = { method: "POST" };

async function signedIn(site: Place): Promise<Jar> {
  const jar = new Jar();
  assert.equal((await jar.fetch(`${site.base}/login`, post)).status, 200);
  return jar;
}

const status = async (site: Place, jar: Jar): Promise<number> => (await jar.fetch(site.base)).status;

test("ASVS 7.1.1 idle and absolute limits exist by default, as documented data", async () => {
  assert.deepEqual(presets, {
    aal1: { absoluteMs: 2_592_000_000 },
    aal2: { absoluteMs: 43_200_000, idleMs: 1_800_000 },
    aal3: { absoluteMs: 43_200_000, idleMs: 900_000 },
  });
  const site = await place();
  await signedIn(site);
  const [mine] = await site.sessions.list("alice");
  assert.ok(mine);
  assert.equal((mine.idleAt ?? 0) - mine.createdAt, presets.aal2.idleMs);
  assert.equal((mine.absoluteAt ?? 0) - mine.createdAt, presets.aal2.absoluteMs);
});

test("ASVS 7.1.2 the number of concurrent sessions of a user is limited as configured", async () => {
  const site = await place({ limits: { perPrincipal: 2, onLimit: "evict-oldest" } });
  const first = await signedIn(site);
  site.clock.advance(1);
  const second = await signedIn(site);
  site.clock.advance(1);
  const third = await signedIn(site);
  assert.deepEqual(
    [await status(site, first), await status(site, second), await status(site, third)],
    [401, 200, 200],
  );
  const strict = await place({ limits: { perPrincipal: 1, onLimit: "refuse" } });
  const only = await signedIn(strict);
  await assert.rejects(
    (async () => {
      const { visitor } = await strict.sessions.open(new Request("http://app.example"));
      await visitor.establish({ principal: "alice" });
    })(),
    (error) => isHoldfastError(error, "limit-reached"),
  );
  assert.equal(await status(strict, only), 200);
});

test("ASVS 7.1.3 a session opened under another ends with it, whoever ends that", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const [mine] = await site.sessions.list("alice");
  assert.ok(mine);
  const child = await site.kernel.establish({
    mechanism: "dialog",
    mode: "full-duplex",
    parent: mine.handle,
  });
  await jar.fetch(`${site.base}/logout`, post);
  assert.equal(await site.kernel.verify(child.secret?.reveal() ?? ""), undefined);
});

test("ASVS 7.2.1 a session is verified against the store: nothing in the cookie decides by itself", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const other = await place();
  assert.equal(await status(other, jar), 401, "a secret that another backend issued opens nothing here");
});

test("ASVS 7.2.2 tokens are dynamic: each login has its own, and none is reused", async () => {
  const site = await place();
  const seen = new Set<string>();
  for (let i = 0; i < 50; i++) seen.add((await signedIn(site)).session);
  assert.equal(seen.size, 50);
});

test("ASVS 7.2.3 tokens have at least 128 bits from a CSPRNG: 43 base64url characters, no position of which repeats", async () => {
  const site = await place();
  const tokens: string[] = [];
  for (let i = 0; i < 200; i++) tokens.push((await signedIn(site)).session);
  for (const token of tokens) assert.match(token, /^[\w-]{43}$/);
  // The first character carries the principal's shard and the last four bits; all others are random.
  for (let position = 1; position < 42; position++) {
    const counts = new Map<string, number>();
    for (const token of tokens)
      counts.set(token.charAt(position), (counts.get(token.charAt(position)) ?? 0) + 1);
    // 200 draws from 64: a character 20 times over is less likely than one in a billion.
    assert.ok(Math.max(...counts.values()) < 20, `position ${position}`);
  }
});

test("ASVS 7.2.4 a login issues a new token and ends the old one, with no session fixed from before", async () => {
  const site = await place();
  const jar = new Jar();
  await jar.fetch(`${site.base}/count`, post);
  const planted = jar.copy();
  await jar.fetch(`${site.base}/login`, post);
  assert.equal(await status(site, planted), 401);
  const again = jar.copy();
  await jar.fetch(`${site.base}/login`, post);
  assert.equal(await status(site, again), 401);
  assert.equal(await status(site, jar), 200);
  const attacker = new Jar();
  attacker.cookies.set("__Host-session", "A".repeat(43));
  await attacker.fetch(`${site.base}/login`, post);
  assert.notEqual(attacker.session, "A".repeat(43), "an id made up by a client is never adopted");
});

test("ASVS 7.3.1 a session that is not used ends", async () => {
  const site = await place();
  const jar = await signedIn(site);
  site.clock.advance(1_799_999);
  assert.equal(await status(site, jar), 200);
  site.clock.advance(1_800_000);
  assert.equal(await status(site, jar), 401);
});

test("ASVS 7.3.2 a session ends after its absolute limit, however much it is used", async () => {
  const site = await place();
  const jar = await signedIn(site);
  for (let hour = 0; hour < 12 * 4 - 1; hour++) {
    site.clock.advance(900_000);
    assert.equal(await status(site, jar), 200);
  }
  site.clock.advance(900_000);
  assert.equal(await status(site, jar), 401);
});

test("ASVS 7.4.1 after the end no further use: not by the cookie, not by a slow request, not by a copy", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const copy = jar.copy();
  const [mine] = await site.sessions.list("alice");
  const record = mine && (await site.kernel.lookUp(mine.handle));
  assert.ok(record);
  await jar.fetch(`${site.base}/logout`, post);
  assert.equal(await status(site, copy), 401);
  await assert.rejects(
    site.kernel.update(record, () => ({ n: 9 })),
    (error) => isHoldfastError(error, "session-ended"),
  );
  assert.equal(await status(site, copy), 401);
});

test("ASVS 7.4.2 disabling a user ends all their sessions and keeps them out", async () => {
  const site = await place();
  const jars = [await signedIn(site), await signedIn(site), await signedIn(site)];
  await site.kernel.lock({ selector: { principal: "alice" }, reason: "left the company" });
  for (const jar of jars) assert.equal(await status(site, jar), 401);
  await assert.rejects(
    site.kernel.establish({ mechanism: "web", mode: "request-response", principal: "alice" }),
    (error) => isHoldfastError(error, "locked"),
  );
});

test("ASVS 7.4.3 after a factor has changed, the user can end all other sessions", async () => {
  const site = await place();
  const [jar, other] = [await signedIn(site), await signedIn(site)];
  assert.equal(await (await jar.fetch(`${site.base}/end-others`, post)).text(), "1");
  assert.deepEqual([await status(site, jar), await status(site, other)], [200, 401]);
});

test("ASVS 7.4.4 logging out is one call that clears what the browser keeps", async () => {
  const site = await place({ remember: "30d" });
  const jar = new Jar();
  await jar.fetch(`${site.base}/login-remembered`, post);
  const response = await jar.fetch(`${site.base}/logout`, post);
  assert.deepEqual(jar.cookies.size, 0);
  assert.equal(response.headers.get("clear-site-data"), '"cache", "storage"');
});

test("ASVS 7.4.5 an administrator ends one user's sessions, or everybody's", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const bob = await site.kernel.establish({ mechanism: "web", mode: "request-response", principal: "bob" });
  const revocation = await site.sessions.revoke({ principal: "alice", reason: "helpdesk", by: "admin" });
  assert.equal((await revocation.settled)[0]?.state, "closed");
  assert.equal(await status(site, jar), 401);
  assert.ok(await site.kernel.verify(bob.secret?.reveal() ?? ""));
  await site.sessions.revoke({ all: true, reason: "incident", by: "admin" });
  assert.equal(await site.kernel.verify(bob.secret?.reveal() ?? ""), undefined);
});

test("ASVS 7.5.1 what is sensitive is refused when the proof is old, with the challenge of RFC 9470", async () => {
  const site = await place();
  const visit = async (jar: Jar): Promise<WebSession<Data>> => {
    const headers = { cookie: `__Host-session=${jar.session}` };
    return (await site.sessions.open(new Request("http://app.example", { headers }))).visitor;
  };
  const jar = await signedIn(site);
  assert.equal(site.sessions.freshness(await visit(jar), "5m"), undefined);
  site.clock.advance(300_001);
  const refusal = site.sessions.freshness(await visit(jar), "5m");
  assert.deepEqual([refusal?.status, refusal?.code], [401, "not-fresh"]);
  assert.match(
    refusal?.headers["www-authenticate"] ?? "",
    /error="insufficient_user_authentication", max_age="300"/,
  );
  assert.equal(site.sessions.freshness(await visit(new Jar()), "5m")?.code, "no-session");
});

test("ASVS 7.5.3 a step-up is a new proof and a new token, and the one from before is refused", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const before = jar.copy();
  site.clock.advance(600_000);
  await jar.fetch(`${site.base}/step-up`, post);
  const [after] = await site.sessions.list("alice");
  assert.equal(after?.authenticatedAt, site.clock.now());
  assert.notEqual(jar.session, before.session);
  assert.deepEqual([await status(site, jar), await status(site, before)], [200, 401]);
});

test("ASVS 7.6.1 a federated login is as old as the identity provider's proof, and asks for a new one in time", async () => {
  const site = await place();
  const { visitor } = await site.sessions.open(new Request("http://app.example"));
  const authTime = site.clock.now() - 3_600_000;
  await visitor.establish({ principal: "alice", authenticatedAt: authTime });
  assert.equal(visitor.authenticatedAt, authTime);
  assert.equal(visitor.isFresh("2h"), true);
  assert.equal(site.sessions.freshness(visitor, "30m")?.code, "not-fresh");
  await visitor.establish({ principal: "alice", authenticatedAt: site.clock.now() + 3_600_000 });
  assert.equal(
    visitor.authenticatedAt,
    site.clock.now(),
    "a provider whose clock is ahead makes nothing fresher",
  );
});

test("ASVS 7.5.2 a user sees their sessions and ends any of them", async () => {
  const site = await place();
  const [jar, other] = [await signedIn(site), await signedIn(site)];
  const list = await site.sessions.list("alice");
  assert.equal(list.length, 2);
  for (const one of list) assert.ok(one.peer.address !== undefined && one.createdAt > 0);
  const me = await site.kernel.verify(jar.session);
  const theirs = list.find((one) => one.handle !== me?.handle);
  assert.ok(theirs && (await site.sessions.end(theirs.handle, { by: "alice" })));
  assert.deepEqual([await status(site, jar), await status(site, other)], [200, 401]);
});

test("ASVS 7.6.2 a session is made only by an explicit login: neither a visit nor a token of another kind makes one", async () => {
  const site = await place({ remember: "30d" });
  const jar = new Jar();
  await jar.fetch(site.base);
  assert.equal(jar.cookies.size, 0);
  const dialog = await site.kernel.establish({
    mechanism: "dialog",
    mode: "full-duplex",
    principal: "alice",
  });
  jar.cookies.set("__Host-session", dialog.secret?.reveal() ?? "");
  jar.cookies.set("__Host-session-remember", dialog.secret?.reveal() ?? "");
  assert.equal(await status(site, jar), 401);
});

test("ASVS 3.3.1, 3.3.2, 3.3.3, 3.3.4 the cookie is Secure, SameSite, __Host- and HttpOnly, and weaker only by saying why", async () => {
  const site = await place();
  const login = await new Jar().fetch(`${site.base}/login`, post);
  assert.match(
    login.headers.getSetCookie()[0] ?? "",
    /^__Host-session=[^;]+; Path=\/; Max-Age=\d+; Secure; HttpOnly; SameSite=Lax$/,
  );
  const bad: SessionsOptions["cookie"][] = [
    { name: "__Host-x", weaken: { why: "shared with the shop", domain: "example.org" } },
    { weaken: { why: " ", insecure: true } },
    { sameSite: "None", weaken: { why: "old devices", insecure: true } },
    { name: "bad name" },
    { weaken: { why: "a folder", path: "/a; Domain=evil" } },
  ];
  for (const cookie of bad) {
    assert.throws(
      () => createSessions({ store: memory(), ...(cookie !== undefined && { cookie }) }),
      (error) => isHoldfastError(error, "invalid-argument"),
      JSON.stringify(cookie),
    );
  }
});

test("ASVS 3.3.5 a cookie's name and value stay far below 4,096 bytes, whatever the session holds", async () => {
  const site = await place();
  const jar = await signedIn(site);
  const [mine] = await site.sessions.list("alice");
  const record = mine && (await site.kernel.lookUp(mine.handle));
  assert.ok(record);
  await site.kernel.update(record, () => ({ n: 0, note: "x".repeat(100_000) }));
  assert.equal(await status(site, jar), 200);
  assert.equal(jar.session.length, 43);
});

test("ASVS 3.5.1, 3.5.3 an unsafe request from another site is refused before the application sees it", async () => {
  const site = await place();
  const jar = await signedIn(site);
  for (const method of ["POST", "PUT", "PATCH", "DELETE", "LOCK"]) {
    const response = await jar.fetch(`${site.base}/count`, {
      method,
      headers: { "sec-fetch-site": "cross-site" },
    });
    assert.equal(response.status, 403, method);
  }
  assert.equal(await (await jar.fetch(site.base)).text(), "GET alice 0");
});

test("ASVS 3.5.1 a token can be asked for: a session's own, good through a rotation, and nobody else's", async () => {
  const site = await place();
  const fresh = async (jar?: Jar): Promise<WebSession<Data>> => {
    const headers = jar === undefined ? {} : { cookie: `__Host-session=${jar.session}` };
    return (await site.sessions.open(new Request("http://app.example", { headers }))).visitor;
  };
  const [jar, other] = [await signedIn(site), await signedIn(site)];
  const token = (await fresh(jar)).csrfToken ?? "";
  assert.match(token, /^[\w-]{43}$/);
  assert.notEqual(token, jar.session);
  assert.equal((await fresh(jar)).isCsrfToken(token), true);
  assert.equal((await fresh(other)).isCsrfToken(token), false);
  assert.equal((await fresh()).csrfToken, undefined);
  assert.equal((await fresh()).isCsrfToken(token), false);
  for (const wrong of [undefined, null, "", 7, [token], `${token}x`, "é".repeat(43), "A".repeat(43)])
    assert.equal((await fresh(jar)).isCsrfToken(wrong), false, String(wrong));
  await jar.fetch(`${site.base}/rotate`, post);
  await jar.fetch(`${site.base}/step-up`, post);
  assert.equal(
    (await fresh(jar)).isCsrfToken(token),
    true,
    "a form in another tab is older than the rotation",
  );
  assert.notEqual((await fresh(jar)).csrfToken, token);
});

test("ASVS 3.5.2 no request gets in because a browser would send it without asking first: forms and plain text too", async () => {
  const site = await place();
  const victim = await signedIn(site);
  const simple = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"];
  const foreign = [{ "sec-fetch-site": "cross-site" }, { "sec-fetch-site": "same-site" }, { origin: "null" }];
  for (const type of simple) {
    for (const from of foreign) {
      // A login is protected as well: nobody is signed in to somebody else's account by another site.
      for (const [jar, path] of [
        [victim, "/count"],
        [new Jar(), "/login"],
      ] as const) {
        const headers = { "content-type": type, ...from };
        const response = await jar.fetch(site.base + path, { ...post, headers, body: "x=1" });
        assert.equal(response.status, 403, `${type} ${JSON.stringify(from)} ${path}`);
        assert.deepEqual(response.headers.getSetCookie(), []);
      }
    }
  }
  assert.equal(await (await victim.fetch(site.base)).text(), "GET alice 0");
});

test("a stolen remember token ends the family when it is used after its time", async () => {
  const site = await place({ remember: "30d" });
  const jar = new Jar();
  await jar.fetch(`${site.base}/login-remembered`, post);
  const thief = jar.copy();
  thief.cookies.delete("__Host-session");
  jar.cookies.delete("__Host-session");
  assert.equal(await status(site, jar), 200);
  site.clock.advance(10_001);
  assert.equal(await status(site, thief), 401);
  assert.equal(await status(site, jar), 401, "the victim is signed out as well, and signs in again");
  assert.deepEqual(await site.sessions.list("alice"), []);
});

test("rotateEvery replaces the secret by itself, and requests under way still pass", async () => {
  const site = await place({ rotateEvery: "10m" });
  const jar = await signedIn(site);
  const late = jar.copy();
  site.clock.advance(600_000);
  assert.equal(await status(site, jar), 200);
  assert.notEqual(jar.session, late.session);
  assert.equal(await status(site, late), 200);
  site.clock.advance(10_001);
  assert.equal(await status(site, late), 401);
});

test("the client's address comes from as many proxies as are trusted, and from no other", async () => {
  const forwarded = { "x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.1" };
  for (const [trustedProxies, expected] of [
    [0, "127.0.0.1"],
    [1, "10.0.0.1"],
    [2, "203.0.113.9"],
  ] as const) {
    const site = await place({ trustedProxies });
    await new Jar().fetch(`${site.base}/login`, { ...post, headers: forwarded });
    assert.equal((await site.sessions.list("alice"))[0]?.peer.address, expected);
  }
});
