import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { Account, MemberOptions } from "./member.ts";
import { Member, pause, until, Wire } from "./processes.ts";

export interface Place {
  readonly kind: MemberOptions["kind"];
  /** The address, through a wire of the test's when there is a network to be cut. */
  at(port: number | undefined): string;
  readonly port?: number;
  stop(): Promise<void>;
}

export function across(name: string, missing: string | undefined, start: () => Promise<Place>): void {
  describe(`three processes over ${name}`, { skip: missing ?? false, concurrency: false }, () => {
    let place: Place;
    let wire: Wire | undefined;
    let a: Member;
    let b: Member;
    let c: Member;

    before(async () => {
      place = await start();
      wire = place.port === undefined ? undefined : await Wire.to(place.port);
      const options = { kind: place.kind, leaseMs: 4_000, receiptMs: 8_000 } as const;
      // The first alone: it makes the schema.
      a = await Member.start({ ...options, at: place.at(undefined), node: "a" });
      [b, c] = await Promise.all([
        Member.start({ ...options, at: place.at(wire?.port), node: "b" }),
        Member.start({ ...options, at: place.at(undefined), node: "c" }),
      ]);
    });

    after(async () => {
      await Promise.all([a, b, c].map((member) => member?.stop()));
      wire?.close();
      await place?.stop();
    });

    test("one revoke closes live connections in all of them, children included, and nobody else's", async () => {
      const mine = await Promise.all([
        a.open("alice"),
        b.open("alice", { resumableMs: 60_000 }),
        b.open("alice"),
        c.open("alice"),
      ]);
      const parent = mine[1];
      const child = await c.open("alice", { mechanism: "under", parent: parent.handle });
      const bob = await b.open("bob");
      const preview = await a.ask<{ count: number; byMechanism: object }>({
        do: "preview",
        selector: { mechanism: "relay", principal: "alice" },
        reason: "",
      });
      assert.deepEqual(preview, { count: 5, byMechanism: { relay: 4, under: 1 } });

      const account = await a.ask<Account>({
        do: "revoke",
        selector: { mechanism: "relay", principal: "alice" },
        reason: "left the company",
      });
      assert.equal(account.receipts.length, 5);
      for (const receipt of account.receipts) {
        assert.equal(receipt.state, "closed", JSON.stringify(receipt));
        assert.ok(receipt.signalledAt !== undefined && receipt.closedAt !== undefined);
      }
      assert.deepEqual(
        account.receipts.map(({ node }) => node ?? "").toSorted((x, y) => x.localeCompare(y)),
        ["a", "b", "b", "c", "c"],
      );
      await Promise.all([...mine, child].map(({ closed }) => closed));
      assert.equal(await bob.echo("still here"), "still here");

      // The others tell the same of it.
      await until("b to know of it", async () => {
        const known = await b.ask<Account | null>({ do: "known", id: account.id });
        return known?.settled === true && known.receipts.length === 5;
      });
      const known = await b.ask<Account>({ do: "known", id: account.id });
      assert.deepEqual(
        [known.by, known.reason, known.node, known.receipts.map(({ state }) => state)],
        ["ops", "left the company", "a", Array.from({ length: 5 }, () => "closed")],
      );
      bob.drop();
    });

    test("a session alone takes its children in other processes along, and the receipts wait for them", async () => {
      const parent = await a.open("erin");
      const child = await b.open("erin", { parent: parent.handle });
      const account = await a.ask<Account>({
        do: "revoke",
        selector: { handle: parent.handle as never },
        reason: "one only",
      });
      assert.deepEqual(
        account.receipts.map(({ handle, state, node }) => ({ handle, state, node })),
        [
          { handle: parent.handle, state: "closed", node: "a" },
          { handle: child.handle, state: "closed", node: "b" },
        ],
      );
      await Promise.all([parent.closed, child.closed]);
    });

    test("a lock in one process ends live sessions and refuses new ones in the others, until it is lifted", async () => {
      const live = await b.open("carol");
      const { lock, account } = await a.ask<{ lock: string; account: Account }>({
        do: "lock",
        selector: { principal: "carol" },
        reason: "stolen laptop",
      });
      assert.equal(account.receipts[0]?.handle, live.handle);
      await live.closed;
      await assert.rejects(c.open("carol"), /refused locked .*stolen laptop/);
      assert.equal(await b.ask({ do: "unlock", id: lock }), true);
      assert.ok((await c.open("carol")).isOpen);
    });

    test("what a process has begun to revoke and did not finish, the others finish", async () => {
      const live = await Promise.all([b.open("dora"), c.open("dora")]);
      await a.ask({ do: "abandon", principal: "dora" });
      await Promise.all(live.map(({ closed }) => closed));
      for (const { handle } of live) {
        await until(`${handle} to have ended`, async () => {
          const session = await a.ask<{ state: string }>({ do: "session", handle });
          return session.state === "ended";
        });
      }
    });

    test("a process that hangs makes its receipts say so; when it goes on, its connections close", async () => {
      const live = await b.open("frank");
      const account = await whileFrozen(b, () =>
        a.ask<Account>({ do: "revoke", selector: { principal: "frank" }, reason: "hung" }),
      );
      assert.match(account.receipts[0]?.why ?? "", /node b (did not report|is gone)/);
      await live.closed;
    });

    test("kill -9: what can be resumed is suspended by the others, the rest has crashed; a cut process closes by itself", async () => {
      // Whatever the hanging process lost is made up for before.
      await until("b to hear of changes", () => b.ask<boolean>({ do: "feed" }));
      const cutOff = wire === undefined ? undefined : await b.open("gina", { resumableMs: 600_000 });
      const resumable = await c.open("gina", { resumableMs: 600_000 });
      const under = await c.open("gina", { parent: resumable.handle });
      const not = await c.open("gina");
      wire?.cut();
      c.signal("SIGKILL");
      const state = async (handle: string): Promise<string> => {
        const session = await a.ask<{ state: string; reason: string | null }>({ do: "session", handle });
        return session.reason ?? session.state;
      };
      await until(
        "the resumable one to be suspended",
        async () => (await state(resumable.handle)) === "suspended",
      );
      await until("the other to have crashed", async () => (await state(not.handle)) === "crashed");
      await until("its child to have crashed", async () => (await state(under.handle)) === "crashed");
      if (wire === undefined || cutOff === undefined) return;
      // Nobody can tell it to: it hears of nothing, and stops serving on its own.
      await cutOff.closed;
      wire.mend();
      await until("b to hear of changes again", () => b.ask<boolean>({ do: "feed" }));
      const again = await b.open("gina");
      assert.equal(await again.echo("back"), "back");
    });
  });
}

/** What `act` does while the member stands still. One that was stopped in the middle of a write to LMDB holds its locks. */
async function whileFrozen<T>(member: Member, act: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    member.signal("SIGSTOP");
    try {
      return await act();
    } catch (error) {
      if (attempt === 10 || !/write lock|from flushing/.test(String(error))) throw error;
    } finally {
      member.signal("SIGCONT");
    }
    await pause();
  }
}
