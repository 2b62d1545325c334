import assert from "node:assert/strict";
import { test } from "node:test";
import tls from "node:tls";
import { parseHandle, VirtualClock } from "../../../src/kernel/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { certificate } from "./certificates.ts";
import type { Visit } from "./scene.ts";
import { again, member, SECRET, until, visit } from "./scene.ts";

const MINUTE = 60_000;
const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const ca = certificate(["ca.test"]);
const ann = certificate(["ann"], { by: ca });
const asking = { ca: ca.cert, requestCert: true, rejectUnauthorized: true } as const;

for (const maxVersion of VERSIONS) {
  for (const mode of ["ticket", "cache", "both"] as const) {
    test(`${maxVersion}, ${mode}: names with certificates of their own, looked up at leisure, resume as one session`, async (t) => {
      const store = memory();
      const contexts = new Map(
        ["a.test", "b.test"].map((name) => [name, tls.createSecureContext(certificate([name]))]),
      );
      const SNICallback: tls.TlsOptions["SNICallback"] = (name, answer) =>
        void setTimeout(() => answer(null, contexts.get(name)), 3);
      const trustDomain = (name: string | undefined): string => name ?? "";
      const options = {
        store,
        sessions: { mode, trustDomain, adopt: false },
        tls: { maxVersion, SNICallback },
      };
      const members = [await member(t, options), await member(t, options)];
      for (const servername of ["a.test", "b.test"]) {
        let last: Visit | undefined;
        const seen: boolean[] = [];
        const handles = new Set<string | null>();
        for (let i = 0; i < 6; i++) {
          const { port } = members[i % 2] ?? assert.fail();
          last = await again(port, last, { servername });
          seen.push(last.reused);
          handles.add(last.told.handle);
        }
        assert.deepEqual(seen, [false, true, true, true, true, true], servername);
        assert.equal(handles.size, 1);
      }
      const listed = [];
      for await (const { label } of (members[0] ?? assert.fail()).kernel.sessions({ mechanism: "tls" }))
        listed.push(label);
      assert.deepEqual(new Set(listed), new Set(["a.test", "b.test"]));
      assert.deepEqual(
        members.flatMap(({ faults }) => faults),
        [],
      );
    });
  }

  test(`${maxVersion}: a revocation check that fails is no leave to resume, and a principal that fails none to stay`, async (t) => {
    let fails = false;
    const revoked = (): boolean => {
      if (fails) throw new Error("the list of revoked certificates is not to be had");
      return false;
    };
    const { port, faults } = await member(t, {
      sessions: { clientCertificates: { revoked } },
      tls: { ...asking, maxVersion },
    });
    const first = await visit(port, ann);
    assert.equal((await again(port, first, ann)).reused, true);
    fails = true;
    assert.equal((await again(port, first, ann)).reused, false);
    assert.match(String(faults[0]), /not to be had/);
    const strict = await member(t, {
      sessions: {
        principal: () => {
          throw new Error("nobody knows");
        },
      },
      tls: { maxVersion },
    });
    await assert.rejects(visit(strict.port));
    assert.match(String(strict.faults[0]), /nobody knows/);
  });
}

test("with a shared store a good ticket of a session that nobody has written is not resumed", async (t) => {
  const [home, elsewhere] = [await member(t), await member(t, { sessions: { adopt: false } })];
  const first = await visit(home.port);
  assert.equal((await again(elsewhere.port, first)).reused, false);
  assert.equal(elsewhere.sessions.metrics().fullBecause["unknown-session"], 1);
});

test("when the notes of used tickets are full, no ticket is taken rather than one twice", async (t) => {
  const { port, sessions } = await member(t, { sessions: { singleUse: true, cache: { maxEntries: 3 } } });
  let last = await visit(port);
  const seen: boolean[] = [];
  for (let i = 0; i < 5; i++) {
    last = await again(port, last);
    seen.push(last.reused);
  }
  assert.deepEqual(seen, [true, true, true, false, false]);
  assert.equal(sessions.metrics().fullBecause["cache-full"], 2);
});

for (const keys of ["ratchet", "random"] as const) {
  test(`${keys} keys: a new secret seals what lies in the store, and who knows only the new one joins`, async (t) => {
    const store = memory();
    const next = `${SECRET}, the next one`;
    const options = { store, sessions: { keys } };
    const [a, b] = [await member(t, options), await member(t, options)];
    const first = await visit(a.port);
    for (const { sessions } of [a, b]) await sessions.rotate(next);
    const late = await member(t, { store, sessions: { keys, secret: next } });
    const second = await again(late.port, first);
    const third = await again(b.port, second);
    assert.deepEqual([second.reused, third.reused], [true, true]);
  });
}

test("an open connection keeps its session from going idle, and without one it goes", async (t) => {
  const clock = new VirtualClock(Date.now());
  const { port, kernel } = await member(t, { clock, sessions: { maxTicketAgeMs: 60 * MINUTE } });
  const stays = await visit(port, { servername: "stay.test" });
  const handle = parseHandle(stays.told.handle ?? "") ?? assert.fail();
  await until(() => kernel.liveCount === 1, "it is carried");
  for (let i = 0; i < 8; i++) {
    clock.advance(20 * MINUTE);
    await until(async () => (await kernel.lookUp(handle))?.touchedAt === clock.now(), "it is touched");
  }
  assert.equal(stays.socket.destroyed, false);
  stays.socket.destroy();
  await until(() => kernel.liveCount === 0, "it is gone");
  clock.advance(61 * MINUTE);
  await until(async () => (await kernel.lookUp(handle)) === undefined, "it went idle");
});

test("sessions of nobody give way to the newest ones, and those with a connection or a principal stay", async (t) => {
  const store = memory();
  let who: string | undefined;
  const { kernel, port, faults } = await member(t, {
    store,
    sessions: { maxAnonymous: 3, adopt: false, principal: () => who },
  });
  const listed = async (): Promise<string[]> => {
    const handles: string[] = [];
    for await (const { handle } of kernel.sessions({ mechanism: "tls" })) handles.push(handle);
    return handles;
  };
  who = "ann";
  const hers = await visit(port);
  who = undefined;
  const staying = await visit(port, { servername: "stay.test" });
  const first = await visit(port);
  for (let i = 0; i < 6; i++) {
    const { told } = await visit(port);
    await until(async () => (await listed()).includes(told.handle ?? ""), "the session to be written");
  }
  // Ann's and three of nobody, of which one is still connected.
  await until(async () => (await listed()).length === 4, "the others to give way");
  const left = await listed();
  for (const { told } of [hers, staying]) assert.ok(left.includes(told.handle ?? ""));
  const handle = parseHandle(first.told.handle ?? "") ?? assert.fail();
  assert.equal(await store.get(handle), undefined, "nothing is left of the first");
  assert.equal((await again(port, first)).reused, false);
  who = "ann";
  assert.equal((await again(port, hers)).reused, true);
  staying.socket.destroy();
  assert.deepEqual(faults, []);
});
