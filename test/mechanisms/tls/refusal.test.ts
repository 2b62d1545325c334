import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import tls from "node:tls";
import { parseHandle, VirtualClock } from "../../../src/kernel/index.ts";
import type { Handle, SessionStore } from "../../../src/kernel/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { certificate } from "./certificates.ts";
import { again, member, own, SECRET, ticketIn, until, visit } from "./scene.ts";

const HOUR = 3_600_000;
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const MODES = ["ticket", "cache"] as const;

for (const maxVersion of VERSIONS) {
  for (const mode of MODES) {
    test(`${mode}, ${maxVersion}: a revoked session loses its connections, and never resumes, on no server`, async (t) => {
      const store = memory();
      const options = { store, sessions: { mode, adopt: false }, tls: { maxVersion } };
      const [a, b] = [await member(t, options), await member(t, options)];
      const staying = await visit(a.port, { servername: "stay.test" });
      const second = await again(b.port, staying, { servername: "stay.test" });
      assert.equal(second.reused, true);
      assert.equal(second.told.handle, staying.told.handle, "one session, on two connections and servers");
      const handle = handleOf(staying.told.handle);
      assert.equal((await listed(b.kernel)).length, 1);
      const gone = Promise.all([once(staying.socket, "close"), once(second.socket, "close")]);
      const revocation = await b.sessions.revoke(handle, { reason: "test" });
      await gone;
      assert.equal(revocation.receipts.length, 1);
      assert.equal((await listed(a.kernel)).length, 0);
      for (const { port, sessions } of [a, b]) {
        for (const session of [...staying.sessions, ...second.sessions]) {
          const after = await visit(port, { session });
          assert.equal(after.reused, false);
          assert.notEqual(after.told.handle, handle);
        }
        const { fullBecause } = sessions.metrics();
        assert.ok((fullBecause["revoked"] ?? 0) + (fullBecause["unknown-id"] ?? 0) > 0);
      }
    });
  }

  test(`${maxVersion}: what is revoked by principal covers every TLS session of it, and a lock keeps it out`, async (t) => {
    const principal = (socket: tls.TLSSocket): string | undefined => socket.getPeerX509Certificate()?.subject;
    const ca = certificate(["ca.test"]);
    const ann = certificate(["ann"], { by: ca });
    const { port, kernel, sessions } = await member(t, {
      sessions: { principal },
      tls: { ca: ca.cert, requestCert: true, rejectUnauthorized: true, maxVersion },
    });
    const first = await visit(port, { ...ann, servername: "stay.test" });
    const second = await again(port, first, { ...ann, servername: "stay.test" });
    assert.deepEqual([first.reused, second.reused], [false, true]);
    await until(async () => (await listed(kernel)).length === 1, "the session is listed");
    const [record] = await listed(kernel);
    assert.equal(record?.principal, "CN=ann");
    assert.equal(record?.label, "stay.test");
    await until(() => kernel.liveCount === 1, "its connections are known");
    const gone = Promise.all([once(first.socket, "close"), once(second.socket, "close")]);
    await kernel.revoke({ principal: "CN=ann" }, { reason: "left" });
    await gone;
    const third = await again(port, first, { ...ann, servername: "stay.test" });
    assert.equal(third.reused, false);
    third.socket.destroy();
    await kernel.lock({ selector: { principal: "CN=ann" }, reason: "stays out" });
    const fourth = visit(port, { ...ann, servername: "stay.test" });
    await fourth.then(
      ({ socket }) => until(() => socket.destroyed, "it is closed"),
      () => undefined,
    );
    await until(() => sessions.metrics().refused >= 1, "the lock was held to");
  });

  test(`${maxVersion}: a single-use ticket is good once: of up to 1,000 replays none is resumed`, async (t) => {
    const { port, sessions } = await member(t, { sessions: { singleUse: true }, tls: { maxVersion } });
    const first = await visit(port);
    assert.equal((await again(port, first)).reused, true);
    let resumed = 0;
    const rounds = maxVersion === "TLSv1.3" ? 50 : 5;
    for (let round = 0; round < rounds; round++) {
      const visits = await Promise.all(Array.from({ length: 20 }, () => again(port, first)));
      resumed += visits.filter(({ reused }) => reused).length;
    }
    assert.equal(resumed, 0);
    assert.equal(sessions.metrics().fullBecause.replayed, 20 * rounds);
  });

  test(`${maxVersion}: a ticket with any one byte changed leads to a full handshake, and to nothing worse`, async (t) => {
    const { port, sessions } = await member(t, { tls: { maxVersion } });
    const { session = Buffer.alloc(0) } = await visit(port);
    const { from, end } = ticketIn(session);
    assert.ok(end - from > 100);
    for (let at = from; at < end; at++) {
      const changed = Buffer.from(session);
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      assert.equal((await visit(port, { session: changed })).reused, false, `byte ${at - from}`);
    }
    const { fullBecause } = sessions.metrics();
    assert.equal(fullBecause["unknown-key"], 16);
    assert.equal(fullBecause.tampered, end - from - 16);
    assert.equal((await visit(port, { session })).reused, true, "untouched it is good still");
  });

  test(`${maxVersion}: sessions do not cross trust domains, by ticket or by ID`, async (t) => {
    for (const mode of MODES) {
      const trustDomain = (name: string | undefined): string => name ?? "";
      const { port } = await member(t, { sessions: { mode, trustDomain }, tls: { maxVersion } });
      const first = await visit(port, { servername: "a.test" });
      for (const servername of ["b.test", "", "A.test.", "aa.test"]) {
        const other = await visit(port, { servername, ...(first.session && { session: first.session }) });
        assert.equal(other.reused, false, `${mode} ${servername}`);
      }
      const fresh = await visit(port, { servername: "a.test" });
      assert.equal((await again(port, fresh, { servername: "a.test" })).reused, true, mode);
    }
  });
}

test("a session that came from another server is adopted once, however many of its connections come together", async (t) => {
  const [a, b] = [await member(t), await member(t)];
  const first = await visit(a.port);
  const stays = await Promise.all(
    Array.from({ length: 12 }, () => again(b.port, first, { servername: "stay.test" })),
  );
  assert.ok(stays.every(({ reused, told }) => reused && told.handle === first.told.handle));
  await until(() => b.sessions.metrics().connections === 12, "all are counted");
  assert.equal((await listed(b.kernel)).length, 1);
  const gone = Promise.all(stays.map(({ socket }) => once(socket, "close")));
  await b.sessions.revoke(handleOf(first.told.handle), { reason: "test" });
  await gone;
  assert.deepEqual(b.faults, []);
});

test("TLS 1.3 sessions in the store are taken: of many who show the same one, one resumes", async (t) => {
  const store = memory();
  const options = { store, sessions: { mode: "cache" } } as const;
  const [a, b] = [await member(t, options), await member(t, options)];
  const first = await visit(a.port);
  const visits = await Promise.all(
    Array.from({ length: 40 }, (_, i) => again(i % 2 === 0 ? a.port : b.port, first)),
  );
  assert.equal(visits.filter(({ reused }) => reused).length, 1);
});

test("TLS 1.2, several trust domains at once behind one certificate: no session ever crosses", async (t) => {
  const trustDomain = (name: string | undefined): string => name ?? "";
  const { port, sessions } = await member(t, { sessions: { trustDomain }, tls: { maxVersion: "TLSv1.2" } });
  const names = Array.from({ length: 8 }, (_, i) => `${i}.test`);
  const firsts = await Promise.all(names.map((servername) => visit(port, { servername })));
  const crossed = await Promise.all(
    firsts.map((first, i) => again(port, first, { servername: names[(i + 1) % names.length] ?? "" })),
  );
  assert.equal(crossed.filter(({ reused }) => reused).length, 0);
  const { tickets } = sessions.metrics();
  assert.equal(tickets.issued + tickets.unusable, 16);
});

test("the clock: skew below one epoch resumes, two epochs old does not, and epoch 0 is an epoch like any other", async (t) => {
  const base = Math.ceil(Date.now() / HOUR) * HOUR;
  const options = { sessions: { epochMs: HOUR } };
  const at = async (ms: number) => member(t, { ...options, clock: new VirtualClock(ms) });
  const [before, after] = [await at(base - 1_000), await at(base + 1_000)];
  const fromAfter = await visit(after.port);
  const fromBefore = await visit(before.port);
  assert.equal((await again(before.port, fromAfter)).reused, true, "made in what is the next epoch here");
  assert.equal((await again(after.port, fromBefore)).reused, true, "made in the previous epoch");
  assert.equal(before.sessions.metrics().epochs.ahead, 1);
  assert.equal(after.sessions.metrics().epochs.behind, 1);
  const late = await at(base + HOUR + 1_000);
  assert.equal((await again(late.port, fromBefore)).reused, false, "two epochs old");
  assert.equal(late.sessions.metrics().fullBecause["old-key"], 1);
  assert.equal((await again(late.port, fromAfter)).reused, true, "one epoch old");

  const [zero, one] = [await at(1_000), await at(HOUR + 1_000)];
  const first = await visit(zero.port);
  assert.equal((await again(zero.port, first)).reused, true);
  assert.equal((await again(one.port, first)).reused, true, "epoch 0 seen from epoch 1");
  const name = ticketNameOf(first.session);
  assert.notDeepEqual(name, Buffer.alloc(16), "not the keys of nobody");
  const stranger = await member(t, {
    clock: new VirtualClock(1_000),
    sessions: { ...options.sessions, secret: `${SECRET}, but for this` },
  });
  assert.notDeepEqual(ticketNameOf((await visit(stranger.port)).session), name);
});

test("the wrong secret, or another cluster with the right one, resumes nothing", async (t) => {
  const store = memory();
  for (const mode of MODES) {
    const home = await member(t, { store, sessions: { mode } });
    const elsewhere = [
      await member(t, { store, sessions: { mode, secret: `not ${SECRET}` } }),
      await member(t, { store, sessions: { mode, cluster: "another" } }),
    ];
    for (const { port } of elsewhere) {
      const first = await visit(home.port);
      assert.equal((await again(port, first)).reused, false, mode);
    }
  }
});

test("a session goes on through resumptions until its chain is too old, and tickets until they are", async (t) => {
  const clock = new VirtualClock(Date.now());
  const { port, sessions } = await member(t, {
    clock,
    sessions: { epochMs: 24 * HOUR, maxTicketAgeMs: 6 * HOUR, maxChainAgeMs: 24 * HOUR },
  });
  let last = await visit(port);
  for (let hours = 0; hours < 23; hours += 5) {
    last = await again(port, last);
    assert.equal(last.reused, true, `after ${hours} h`);
    clock.advance(5 * HOUR);
  }
  last = await again(port, last);
  assert.equal(last.reused, false);
  assert.equal(sessions.metrics().fullBecause.expired, 1);
  clock.advance(7 * HOUR);
  assert.equal((await again(port, last)).reused, false, "nobody came for longer than a ticket is good for");
});

test("the cache never exceeds its bounds under ten times its load, in this process or in the store", async (t) => {
  const held = new Set<string>();
  let most = 0;
  const store = counting(memory(), held, () => (most = Math.max(most, held.size)));
  const { port, sessions } = await member(t, {
    store,
    sessions: { mode: "cache", cache: { maxEntries: 20 } },
  });
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 10 }, () => visit(port)));
    assert.ok(sessions.metrics().cache.entries <= 20);
  }
  const last = await visit(port);
  assert.ok(most <= 20, `${most} in the store`);
  assert.equal(sessions.metrics().cache.stored, 202);
  assert.equal(sessions.metrics().cache.evicted, 182);
  assert.equal((await again(port, last)).reused, true, "the newest are the ones that stay");
  const small = await member(t, { sessions: { mode: "cache", cache: { maxBytes: 2_000 } } });
  for (let i = 0; i < 20; i++) {
    await visit(small.port);
    assert.ok(small.sessions.metrics().cache.bytes <= 2_000);
  }
});

test("what the store keeps of a session is neither its name nor its secrets", async (t) => {
  const kept = new Map<string, Uint8Array>();
  const store = counting(memory(), new Set(), () => {}, kept);
  for (const maxVersion of VERSIONS) {
    kept.clear();
    const { port } = await member(t, { store, sessions: { mode: "cache" }, tls: { maxVersion } });
    const { session = Buffer.alloc(0) } = await visit(port);
    const name =
      maxVersion === "TLSv1.3"
        ? session.subarray(ticketIn(session).from, ticketIn(session).end)
        : sessionIdOf(session);
    assert.equal(name.length, 32);
    assert.ok(kept.size > 0);
    for (const [key, value] of kept) {
      assert.ok(!key.includes(name.toString("hex")) && !key.includes(name.toString("base64url")));
      assert.equal(Buffer.from(value).indexOf(name), -1);
      assert.equal(Buffer.from(value).indexOf(masterIn(session)), -1);
    }
  }
});

test("a ClientHello cut anywhere resumes all the same, and one that is too large is served and not resumed", async (t) => {
  const { port, sessions } = await member(t, { sessions: { helloBytes: 4_096 } });
  const first = await visit(port);
  const through = await cutting(port, t);
  for (const size of [1, 2, 7, 64, 500]) {
    through.size = size;
    assert.equal((await again(through.port, first)).reused, true, `pieces of ${size}`);
  }
  const many = Array.from({ length: 400 }, (_, i) => `protocol-${String(i).padStart(4, "0")}`);
  const large = await visit(port, {
    ALPNProtocols: many,
    ...(first.session && { session: first.session }),
  });
  assert.equal(large.reused, false);
  assert.equal(sessions.metrics().fullBecause["unreadable-hello"], 1);
  for (const maxVersion of VERSIONS) {
    const unread = await visit(port, { ALPNProtocols: many, maxVersion });
    const back = await visit(port, { maxVersion, ...(unread.session && { session: unread.session }) });
    assert.equal(back.reused, false, "its trust domain was never known");
  }
});

test("who says nothing, nonsense, or too little in time does no harm, and meets the limits of the server", async (t) => {
  const { port } = await member(t, { sessions: { helloMs: 50 }, tls: { handshakeTimeout: 100 } });
  const nonsense = [
    "GET / HTTP/1.1\r\n\r\n",
    "\x16\x03\x01\x00\x00",
    "\x16\x03\x01\x00\x05\x02aaaa",
    "\x80\x2e\x01\x03\x01",
  ];
  await Promise.all(
    ["", "\x16\x03\x01", ...nonsense].map(async (bytes) => {
      const socket = net.connect(port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      if (bytes !== "") socket.write(bytes, "latin1");
      await once(socket, "close");
    }),
  );
  const gone = net.connect(port, "127.0.0.1");
  await once(gone, "connect");
  gone.destroy();
  const { port: patient } = await member(t);
  assert.equal((await again(patient, await visit(patient))).reused, true);
});

test("a HelloRetryRequest does not keep a ticket from resuming", async (t) => {
  const { port } = await member(t, { tls: { ecdhCurve: "P-384" } });
  const client = { ecdhCurve: "P-256:P-384" };
  const first = await visit(port, client);
  assert.equal((await again(port, first, client)).reused, true);
});

test("nothing resumes that was not approved: not by keys that Node made itself", async (t) => {
  const { port, sessions, server } = await member(t, {
    sessions: { internals: false },
    tls: { maxVersion: "TLSv1.2" },
  });
  // As if it had been made without `serverOptions`: Node makes and takes tickets of its own.
  const stock = tls.createServer({ ...own, maxVersion: "TLSv1.2", sessionIdContext: "stock" });
  sessions.attach(stock);
  stock.on("secureConnection", (socket) => socket.end(`{"reused":${socket.isSessionReused()}}\n`));
  stock.listen(0, "127.0.0.1");
  await once(stock, "listening");
  t.after(() => stock.close());
  const first = await visit((stock.address() as AddressInfo).port);
  await assert.rejects(again((stock.address() as AddressInfo).port, first));
  assert.equal(sessions.metrics().unapproved, 1);
  assert.ok(server.listening && (await visit(port)).told.handle !== null);
});

async function listed(kernel: Awaited<ReturnType<typeof member>>["kernel"]) {
  const records = [];
  for await (const record of kernel.sessions({ mechanism: "tls" })) records.push(record);
  return records;
}

function handleOf(text: string | null): Handle {
  return parseHandle(text ?? "") ?? assert.fail("no handle");
}

function ticketNameOf(session: Buffer | undefined): Buffer {
  if (session === undefined) return assert.fail("no session");
  const { from } = ticketIn(session);
  return session.subarray(from, from + 16);
}

/** The fourth member of a session: its ID in TLS 1.2. */
function sessionIdOf(session: Buffer): Buffer {
  return octets(session)[1] ?? assert.fail("no session ID");
}

function masterIn(session: Buffer): Buffer {
  return octets(session)[2] ?? assert.fail("no master secret");
}

/** The OCTET STRINGs at the front: cipher, session ID, master secret. */
function octets(session: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let at = (session[1] ?? 0) >= 0x80 ? 2 + ((session[1] ?? 0) & 0x7f) : 2;
  while (found.length < 3 && at < session.length) {
    const length = session[at + 1] ?? 0;
    if (session[at] === 4) found.push(session.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return found;
}

/** A relay that passes the client's first flight on in pieces. */
async function cutting(
  port: number,
  t: { after(run: () => void): void },
): Promise<{ port: number; size: number }> {
  const relay = { port: 0, size: 1 };
  const server = net.createServer({ noDelay: true }, (near) => {
    const far = net.connect({ port, host: "127.0.0.1", noDelay: true });
    near.on("error", () => far.destroy());
    far.on("error", () => near.destroy());
    far.pipe(near);
    let first = true;
    near.on("data", (chunk: Buffer) => {
      if (!first) return void far.write(chunk);
      first = false;
      near.pause();
      void (async () => {
        for (let at = 0; at < chunk.length; at += relay.size) {
          far.write(chunk.subarray(at, at + relay.size));
          await new Promise((resolve) => setImmediate(resolve));
        }
        near.resume();
      })();
    });
    near.on("end", () => far.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  relay.port = (server.address() as AddressInfo).port;
  return relay;
}

/** Knows which cached sessions are in the store. */
function counting(
  store: SessionStore,
  held: Set<string>,
  changed: () => void,
  values?: Map<string, Uint8Array>,
): SessionStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "putTicket") {
        return async (key: string, value: Uint8Array, expiresAt: number) => {
          held.add(key);
          values?.set(key, value);
          changed();
          return target.putTicket(key, value, expiresAt);
        };
      }
      if (name === "dropTicket" || name === "takeTicket") {
        return async (key: string, now: number) => {
          held.delete(key);
          return name === "dropTicket" ? target.dropTicket(key) : target.takeTicket(key, now);
        };
      }
      const found: unknown = Reflect.get(target, name);
      return typeof found === "function" ? (found.bind(target) as unknown) : found;
    },
  });
}
