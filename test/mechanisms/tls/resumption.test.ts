import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { createKernel, isHoldfastError, VirtualClock } from "../../../src/kernel/index.ts";
import { tlsSessions } from "../../../src/mechanisms/tls/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { certificate } from "./certificates.ts";
import type { Member, Visit } from "./scene.ts";
import { again, member, own, SECRET, until, visit } from "./scene.ts";

const HOUR = 3_600_000;
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const rsa = certificate(["localhost"], { kind: "rsa" });

for (const version of VERSIONS) {
  for (const mode of ["ticket", "cache", "both"] as const) {
    for (const [kind, pair] of [
      ["EC", own],
      ["RSA", rsa],
    ] as const) {
      test(`${version}, ${mode}, ${kind}: after one full handshake every connection resumes, whichever of three servers it meets`, async (t) => {
        const store = memory();
        const members = [];
        for (let i = 0; i < 3; i++) {
          // In ticket mode they share nothing but the secret.
          const shared = mode === "ticket" ? {} : { store };
          members.push(
            await member(t, { ...shared, sessions: { mode }, tls: { ...pair, maxVersion: version } }),
          );
        }
        let last: Visit | undefined;
        const reused: boolean[] = [];
        for (let i = 0; i < 13; i++) {
          const { port } = members[i % 3] ?? assert.fail();
          last = await again(port, last);
          assert.equal(last.protocol, version);
          assert.equal(last.told.reused, last.reused);
          reused.push(last.reused);
        }
        assert.deepEqual(reused, [false, ...Array<boolean>(12).fill(true)]);
        const metrics = members.map(({ sessions }) => sessions.metrics());
        assert.equal(
          metrics.reduce((sum, { resumed }) => sum + resumed[version], 0),
          12,
        );
        assert.equal(
          metrics.reduce((sum, { full }) => sum + full[version], 0),
          1,
        );
        const by = metrics.reduce(
          (sum, { resumedBy }) => sum + resumedBy[mode === "cache" ? "id" : "ticket"],
          0,
        );
        assert.equal(by, 12);
        assert.deepEqual(
          members.flatMap(({ faults }) => faults),
          [],
        );
      });
    }
  }
}

test("without undocumented parts of Node both versions resume by what the store keeps", async (t) => {
  const store = memory();
  for (const maxVersion of VERSIONS) {
    const [a, b] = [
      await member(t, { store, sessions: { internals: false }, tls: { maxVersion } }),
      await member(t, { store, sessions: { internals: false }, tls: { maxVersion } }),
    ];
    assert.equal(a.sessions.mode, "cache");
    const first = await visit(a.port);
    const second = await again(b.port, first);
    const third = await again(a.port, second);
    assert.deepEqual([first.reused, second.reused, third.reused], [false, true, true]);
  }
});

test("in mode both a TLS 1.2 client without tickets resumes by session ID", async (t) => {
  const store = memory();
  const members = [
    await member(t, { store, sessions: { mode: "both" } }),
    await member(t, { store, sessions: { mode: "both" } }),
  ];
  const old = {
    maxVersion: "TLSv1.2",
    secureOptions: (await import("node:crypto")).constants.SSL_OP_NO_TICKET,
  } as const;
  const first = await visit(members[0]?.port ?? 0, old);
  const second = await again(members[1]?.port ?? 0, first, old);
  const third = await again(members[0]?.port ?? 0, second, old);
  assert.deepEqual([first.reused, second.reused, third.reused], [false, true, true]);
  assert.equal(members[1]?.sessions.metrics().resumedBy.id, 1);
});

test("https and http2 servers are attached like any other, before or while they listen", async (t) => {
  const kernel = createKernel({ store: memory() });
  const sessions = tlsSessions({ kernel, cluster: "test", secret: SECRET });
  const web = https.createServer({ ...own }, (_request, response) => response.end("web"));
  const two = http2.createSecureServer({ ...own, allowHTTP1: true });
  two.on("request", (_request, response) => response.end("two"));
  for (const server of [web, two]) server.listen(0, "127.0.0.1");
  await Promise.all([once(web, "listening"), once(two, "listening")]);
  sessions.attach(web);
  sessions.attach(two);
  t.after(async () => {
    web.closeAllConnections();
    web.close();
    two.close();
    sessions.close();
    await kernel.close();
  });
  for (const server of [web, two]) {
    const { port } = server.address() as AddressInfo;
    const ask = async (
      session: Buffer | undefined,
    ): Promise<{ reused: boolean; session: Buffer | undefined; body: string }> => {
      const socket = tls.connect({
        port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        ...(session !== undefined && { session }),
      });
      let latest: Buffer | undefined;
      let body = "";
      let reused = false;
      socket.on("secureConnect", () => (reused = socket.isSessionReused()));
      socket.on("session", (one) => (latest = one));
      socket.on("data", (chunk: Buffer) => (body += String(chunk)));
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
      await once(socket, "close");
      return { reused, session: latest, body };
    };
    const first = await ask(undefined);
    const second = await ask(first.session);
    assert.match(second.body, server === web ? /web/ : /two/);
    // Both have the same sessions: who knows one of them has resumed at once.
    assert.deepEqual([first.reused, second.reused], [false, true]);
  }
});

for (const mode of ["ticket", "cache"] as const) {
  for (const maxVersion of VERSIONS) {
    test(`${mode}, ${maxVersion}: no full handshake comes of a rotation, of restarts, or of a reload of the certificate`, async (t) => {
      const store = memory();
      const clock = new VirtualClock(Date.now());
      const options = { clock, sessions: { mode, epochMs: 3 * HOUR }, tls: { maxVersion } };
      const members: Member[] = [];
      for (let i = 0; i < 3; i++) members.push(await member(t, { ...options, store }));
      let last: Visit | undefined;
      let full = 0;
      const round = async (): Promise<void> => {
        for (const { port } of members) {
          last = await again(port, last);
          if (!last.reused) full++;
        }
      };
      await round();
      assert.equal(full, 1);
      for (const { sessions } of members) {
        await sessions.rotate("another secret, of which everybody hears in turn");
        await round();
      }
      clock.advance(3 * HOUR);
      await round();
      for (const { server } of members) {
        const fresh = certificate(["localhost"]);
        server.setSecureContext({ ...fresh, maxVersion });
        await round();
      }
      for (let i = 0; i < 3; i++) {
        const secret = ["another secret, of which everybody hears in turn", SECRET];
        members[i] = await member(t, { ...options, store, sessions: { ...options.sessions, secret } });
        await round();
      }
      assert.equal(full, 1);
    });
  }
}

test("a reloaded certificate is the one that full handshakes show", async (t) => {
  const { server, port } = await member(t);
  const fresh = certificate(["fresh.test"]);
  server.setSecureContext(fresh);
  const seen = await visit(port);
  assert.equal(seen.socket.getPeerX509Certificate()?.subject, undefined, "the socket is closed by now");
  const socket = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  assert.match(socket.getPeerX509Certificate()?.subject ?? "", /fresh\.test/);
  socket.destroy();
});

test("a new secret that is made with at once is refused by who has not heard of it, and resumes where it is known", async (t) => {
  const [told, untold] = [await member(t), await member(t)];
  await told.sessions.rotate("a secret that one of the two has been told of", { makesFrom: "now" });
  const first = await visit(told.port);
  assert.equal((await again(told.port, first)).reused, true);
  const elsewhere = await again(untold.port, first);
  assert.equal(elsewhere.reused, false);
  assert.equal(untold.sessions.metrics().fullBecause["unknown-key"], 1);
});

for (const keys of ["ratchet", "random"] as const) {
  test(`${keys} keys: servers agree on them, late ones join, tickets live one epoch on and no longer`, async (t) => {
    const store = memory();
    const clock = new VirtualClock(Date.now());
    const epochMs = HOUR;
    const options = { store, clock, sessions: { keys, epochMs } };
    const [a, b] = await Promise.all([member(t, options), member(t, options)]);
    const first = await visit(a.port);
    assert.equal((await again(b.port, first)).reused, true);
    clock.advance(epochMs);
    const late = await member(t, options);
    assert.equal((await again(late.port, first)).reused, true, "a late joiner, one epoch on");
    const second = await visit(late.port);
    assert.equal((await again(a.port, second)).reused, true, "and the others know its tickets");
    clock.advance(epochMs);
    await until(async () => (await again(b.port, second)).reused, "the previous epoch is accepted");
    assert.equal((await again(a.port, first)).reused, false, "two epochs old");
    assert.deepEqual(
      [a, b, late].flatMap(({ faults }) => faults),
      [],
    );
  });

  test(`${keys} keys: what lies in the store is sealed, and of no use under another secret`, async (t) => {
    const store = memory();
    const clock = new VirtualClock(Date.now());
    const put: Uint8Array[] = [];
    const spied = new Proxy(store, {
      get(target, name) {
        const found: unknown = Reflect.get(target, name);
        if (name === "putTicket") {
          return (key: string, value: Uint8Array, expiresAt: number) => {
            if (key.startsWith("tls-root:")) put.push(value);
            return target.putTicket(key, value, expiresAt);
          };
        }
        return typeof found === "function" ? (found.bind(target) as unknown) : found;
      },
    });
    const a = await member(t, { store: spied, clock, sessions: { keys } });
    const stranger = await member(t, {
      store,
      clock,
      sessions: { keys, secret: "a secret that does not open the other one's roots" },
    });
    const first = await visit(a.port);
    assert.ok(put.length > 0);
    for (const value of put) assert.equal(value.length, 12 + 32 + 16);
    assert.equal((await again(stranger.port, first)).reused, false);
  });
}

test("a store that is down costs resumption, and no connection", async (t) => {
  const store = memory();
  const { port, sessions, faults } = await member(t, { store, sessions: { mode: "cache" } });
  const first = await visit(port);
  assert.equal((await again(port, first)).reused, true);
  const second = await visit(port);
  await store.close();
  assert.equal((await again(port, second)).reused, false);
  assert.equal(sessions.metrics().fullBecause["store-unavailable"], 1);
  assert.ok(faults.some((fault) => isHoldfastError(fault, "store-closed")));
});

test("misuse is told in words: short secrets, foreign servers, a second keeper, senseless bounds", async (t) => {
  const kernel = createKernel({ store: memory() });
  t.after(() => kernel.close());
  const invalid = (error: unknown): boolean => isHoldfastError(error, "invalid-argument");
  assert.throws(() => tlsSessions({ kernel, cluster: "x", secret: "short" }), invalid);
  assert.throws(() => tlsSessions({ kernel, cluster: "x", secret: [] }), invalid);
  assert.throws(() => tlsSessions({ kernel, cluster: "x", secret: SECRET, epochMs: 0 }), invalid);
  assert.throws(
    () => tlsSessions({ kernel, cluster: "x", secret: SECRET, maxTicketAgeMs: 8 * 86_400_000 }),
    invalid,
  );
  const sessions = tlsSessions({ kernel, cluster: "x", secret: SECRET });
  const server = tls.createServer({ ...own });
  const detach = sessions.attach(server);
  assert.throws(() => sessions.attach(server), invalid);
  detach();
  sessions.attach(server)();
  server.on("resumeSession", (_id, answer) => answer(null, null));
  assert.throws(() => sessions.attach(server), invalid);
  await assert.rejects(sessions.rotate("short"), invalid);
});

test("a server that was left goes on by itself", async (t) => {
  const { server, sessions, port } = await member(t);
  sessions.close();
  const first = await visit(port);
  assert.equal(first.told.handle, null);
  assert.equal(server.listenerCount("secureConnection"), 1);
  assert.equal(server.listeners("connection").length, 1);
});
