import assert from "node:assert/strict";
import { test } from "node:test";
import { VirtualClock } from "../../../src/kernel/index.ts";
import type { SessionStore } from "../../../src/kernel/index.ts";
import type { ClientCertificate, TlsSessionsOptions } from "../../../src/mechanisms/tls/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { certificate } from "./certificates.ts";
import type { Member } from "./scene.ts";
import { again, member, visit } from "./scene.ts";
import type { TestContext } from "node:test";

const HOUR = 3_600_000;
const [caA, caB] = [certificate(["ca-a.test"]), certificate(["ca-b.test"])];
const ann = certificate(["ann"], { by: caA });
const bob = certificate(["bob"], { by: caB });

for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
  for (const mode of ["ticket", "cache"] as const) {
    const asking = (
      t: TestContext,
      options: {
        store?: SessionStore;
        clock?: VirtualClock;
        sessions?: Partial<TlsSessionsOptions>;
        reject?: boolean;
      } = {},
    ): Promise<Member> => {
      const { store, clock, sessions, reject = true } = options;
      return member(t, {
        ...(store !== undefined && { store }),
        ...(clock !== undefined && { clock }),
        sessions: { mode, ...sessions },
        tls: { ca: [caA.cert, caB.cert], requestCert: true, rejectUnauthorized: reject, maxVersion },
        attach: { ca: `${caA.cert}${caB.cert}` },
      });
    };
    const named = `${maxVersion}, ${mode}`;

    test(`${named}: a client with a good certificate resumes over servers, and is who it was`, async (t) => {
      const store = memory();
      const [a, b] = [await asking(t, { store }), await asking(t, { store })];
      const first = await visit(a.port, ann);
      const second = await again(b.port, first);
      assert.deepEqual([first.reused, second.reused], [false, true]);
      assert.equal(second.told.authorized, true);
      const records = [];
      for await (const record of b.kernel.sessions({ mechanism: "tls" })) records.push(record);
      assert.equal(records.length, 1);
      assert.equal(records[0]?.peer.device?.length, 95, "its fingerprint, to be selected by");
    });

    test(`${named}: an expired certificate, one that was revoked, or one of an authority that is out: no resumption`, async (t) => {
      const clock = new VirtualClock(Date.now());
      const revoked: ClientCertificate[] = [];
      let isRevoked = false;
      const long = { epochMs: 24 * 40 * HOUR, maxTicketAgeMs: 160 * HOUR, maxChainAgeMs: 1_000 * HOUR };
      const { port, sessions, server } = await asking(t, {
        clock,
        sessions: {
          ...long,
          clientCertificates: {
            revoked: async (one) => {
              revoked.push(one);
              return isRevoked;
            },
          },
        },
      });
      const short = certificate(["short"], { by: caA, days: 1 });
      const brief = await visit(port, short);
      clock.advance(25 * HOUR);
      assert.equal((await again(port, brief, short)).reused, false, "expired");

      const first = await visit(port, ann);
      const second = await again(port, first, ann);
      assert.equal(second.reused, true);
      assert.match(revoked.at(-1)?.subject ?? "", /CN=ann/);
      isRevoked = true;
      assert.equal((await again(port, second, ann)).reused, false, "revoked");
      isRevoked = false;

      const bobs = await visit(port, bob);
      const anns = await visit(port, ann);
      server.setSecureContext({ ...serverPair, ca: caA.cert, maxVersion });
      assert.equal((await again(port, anns, ann)).reused, true, "its authority is in force still");
      await assert.rejects(again(port, bobs, bob), "a full handshake, in which it is refused");
      assert.equal(
        sessions.metrics().fullBecause["client-certificate"],
        2,
        "those that were let through in full",
      );
    });

    test(`${named}: who showed no certificate, or a bad one, is not authorised by coming back`, async (t) => {
      const { port } = await asking(t, { reject: false });
      const stranger = certificate(["stranger"]);
      for (const client of [{}, stranger]) {
        const first = await visit(port, client);
        assert.deepEqual(first.told.authorized, false);
        const second = await again(port, first, client);
        assert.deepEqual([second.reused, second.told.authorized], [false, false]);
      }
    });

    test(`${named}: a session of one name's clients does not resume under another name`, async (t) => {
      const { port, server } = await asking(t);
      server.addContext("b.test", { ...serverPair, ca: caB.cert });
      server.addContext("a.test", { ...serverPair, ca: caA.cert });
      const first = await visit(port, { ...ann, servername: "a.test" });
      assert.equal(first.told.authorized, true);
      await assert.rejects(again(port, first, { ...ann, servername: "b.test" }));
      const fresh = await visit(port, { ...ann, servername: "a.test" });
      assert.equal((await again(port, fresh, { servername: "a.test" })).reused, true);
    });

    test(`${named}: a server that does not know the session asks for the certificate again`, async (t) => {
      const [a, b] = [await asking(t), await asking(t)];
      const first = await visit(a.port, ann);
      assert.equal((await again(b.port, first, ann)).reused, false);
      await assert.rejects(again(b.port, first), "and takes no client without one");
    });
  }
}

const serverPair = certificate(["localhost", "a.test", "b.test"]);
