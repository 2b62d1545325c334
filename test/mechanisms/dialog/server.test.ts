import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { isHoldfastError } from "../../../src/kernel/index.ts";
import type { SessionStore } from "../../../src/kernel/index.ts";
import { connect } from "../../../src/mechanisms/dialog/client-node.ts";
import type { NodeConnectOptions } from "../../../src/mechanisms/dialog/client-node.ts";
import type { Dialog, DialogsOptions } from "../../../src/mechanisms/dialog/index.ts";
import { embeddedLog } from "../../../src/store/embedded/log.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { CutLink } from "./cut-link.ts";
import type { Served } from "./served.ts";
import { numbered, reading, sendAll, served, until } from "./served.ts";

const base = mkdtempSync(join(tmpdir(), "holdfast-dialog-"));
after(() => rmSync(base, { recursive: true, force: true }));
let folders = 0;

interface Node extends Served {
  readonly tcp: number;
}

async function node(
  options: Partial<DialogsOptions> & { store?: SessionStore; logAt?: string } = {},
): Promise<Node> {
  const { logAt, ...rest } = options;
  const log = logAt === undefined ? undefined : embeddedLog({ path: logAt });
  const node = await served({ ...(log !== undefined && { log }), ...rest });
  const { port: tcp } = await node.dialogs.listen();
  return {
    ...node,
    tcp,
    async stop() {
      await node.stop();
      await log?.close();
    },
  };
}

const FAST: NodeConnectOptions = { authorization: "ann", reconnect: { minMs: 5, maxMs: 50 } };

for (const binding of ["ws", "tcp"] as const) {
  for (const logged of [false, true]) {
    test(`${binding}, ${logged ? "with a log" : "in memory"}: both ways, through resets and half-open links, nothing is lost, doubled or reordered`, async () => {
      const server = await node(logged ? { logAt: join(base, `log${folders++}`) } : {});
      const cut = await new CutLink().start(binding === "ws" ? server.port : server.tcp);
      let there: Dialog | undefined;
      let gotThere: string[] = [];
      server.dialogs.on("open", (dialog) => {
        there = dialog;
        gotThere = reading(dialog);
        void sendAll(dialog, numbered(6000));
      });
      const url = binding === "ws" ? `ws://127.0.0.1:${cut.port}/dialog` : `tcp://127.0.0.1:${cut.port}`;
      const here = await connect(url, FAST);
      const gotHere = reading(here);
      const sent = sendAll(here, numbered(6000));
      for (let turn = 1; turn <= 8; turn++) {
        await until("more", () => gotHere.length + gotThere.length > turn * 1200);
        if (turn % 2 === 0) cut.reset();
        else cut.halfOpen();
        // And once more while the other side is repeating what it has.
        if (turn % 3 === 0) {
          const { links } = cut;
          await until("a new link", () => cut.links > links);
          cut.reset();
        }
      }
      await sent;
      await until("everything", () => gotHere.length >= 6000 && gotThere.length >= 6000);
      assert.deepEqual(gotHere, numbered(6000));
      assert.deepEqual(gotThere, numbered(6000));
      await here.finish();
      assert.equal(here.ended?.reason, "finished");
      await until("the end on the server", () => there?.ended?.reason === "finished");
      assert.deepEqual(server.faults, []);
      await cut.stop();
      await server.stop();
    });
  }
}

test("half-duplex: turns are taken and given, and points are set and gone back to", async () => {
  const server = await node();
  let there: Dialog | undefined;
  server.dialogs.on("open", (dialog) => {
    there = dialog;
    reading(dialog);
    dialog.on("wanted", () => void dialog.giveTurn());
  });
  const here = await connect(`tcp://127.0.0.1:${server.tcp}`, { ...FAST, mode: "half-duplex", sync: true });
  const got = reading(here);
  assert.equal(here.hasTurn, true);
  await here.send("one", { until: "acked" });
  const point = await here.minorSync();
  await point.confirmed;
  await here.giveTurn();
  await assert.rejects(here.send("not my turn"), (error) => isHoldfastError(error, "illegal-transition"));
  await until("the turn", () => there?.hasTurn === true);
  await there?.send("reply", { until: "acked" });
  assert.deepEqual(got, ["reply"]);
  await here.takeTurn();
  assert.equal(there?.hasTurn, false);
  const major = await here.majorSync();
  await here.minorSync();
  await here.minorSync();
  assert.equal(await here.resynchronize({ restart: major + 1 }), major + 1);
  await assert.rejects(here.resynchronize({ restart: major }), (error) =>
    isHoldfastError(error, "illegal-transition"),
  );
  await here.finish();
  await server.stop();
});

test("a dialog goes on on another node, from its log, while the first still thinks it has it", async () => {
  const store = memory();
  const logAt = join(base, `log${folders++}`);
  const one = await node({ store, logAt });
  const two = await node({ store, logAt });
  const cut = await new CutLink().start(one.port);
  const got: string[][] = [];
  const arrivals: boolean[] = [];
  const dialogs: Dialog[] = [];
  for (const server of [one, two])
    server.dialogs.on("open", (dialog, { rehydrated }) => {
      arrivals.push(rehydrated);
      dialogs.push(dialog);
      got.push(reading(dialog));
    });
  const here = await connect(`ws://127.0.0.1:${cut.port}/dialog`, FAST);
  const gotHere = reading(here);
  await sendAll(here, numbered(500));
  await until("them", () => got[0]?.length === 500);
  const [first] = dialogs;
  assert.ok(first !== undefined);
  // What the first node has accepted while nobody listens must come through the second.
  cut.down = true;
  cut.halfOpen();
  await sendAll(first, numbered(300));
  cut.target = two.port;
  cut.down = false;
  await until("the second node's dialog", () => dialogs.length === 2);
  const zombie = await first.send("too late").then(
    () => "accepted",
    (error: unknown) => (isHoldfastError(error) ? error.code : "?"),
  );
  assert.equal(zombie, "session-ended");
  await until("the first to learn it", () => first.ended?.reason === "moved");
  await dialogs[1]?.send("from the second", { until: "acked" });
  await here.send("to the second", { until: "acked" });
  assert.deepEqual(gotHere, [...numbered(300), "from the second"]);
  assert.deepEqual([...(got[0] ?? []), ...(got[1] ?? [])], [...numbered(500), "to the second"]);
  assert.deepEqual(arrivals, [false, true]);
  await here.finish();
  assert.deepEqual([...one.faults, ...two.faults], []);
  await cut.stop();
  await one.stop();
  await two.stop();
});

test("drain sends everybody elsewhere, and nothing is lost on the way", async () => {
  const store = memory();
  const logAt = join(base, `log${folders++}`);
  const one = await node({ store, logAt });
  const two = await node({ store, logAt });
  const got: string[] = [];
  for (const server of [one, two])
    server.dialogs.on("open", async (dialog) => {
      for await (const message of dialog) {
        got.push(message.text);
        await message.commit().catch(() => undefined);
      }
    });
  const here = await connect(`tcp://127.0.0.1:${one.tcp}`, FAST);
  const sent = sendAll(here, numbered(3000));
  await until("some", () => got.length > 100);
  await one.dialogs.drain({ url: `tcp://127.0.0.1:${two.tcp}` });
  await sent;
  await here.send("last", { until: "acked" });
  // A message that was handed out and not committed before the move comes again: its number says so.
  assert.deepEqual([...new Set(got)], [...numbered(3000), "last"]);
  await here.finish();
  await one.stop();
  await two.stop();
});

test("a revoked session is cut at once, and neither it nor a child of an ended login comes back", async () => {
  const server = await node({
    authenticate: async ({ authorization }) => {
      const login = await server.kernel.lookUp(parent.record.handle);
      return login === undefined ? undefined : { principal: authorization, parent: login.handle };
    },
  });
  const parent = await server.kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "ann",
  });
  const one = await connect(`ws://127.0.0.1:${server.port}/dialog`, FAST);
  const two = await connect(`tcp://127.0.0.1:${server.tcp}`, FAST);
  const record = await server.kernel.lookUp(one.handle as typeof parent.record.handle);
  assert.equal(record?.parent, parent.record.handle);
  await server.kernel.revoke({ handle: parent.record.handle }, { reason: "lost phone" });
  await until("both to end", () => one.ended !== undefined && two.ended !== undefined);
  assert.equal(one.ended?.reason, "revoked");
  assert.equal(two.ended?.reason, "revoked");
  await assert.rejects(connect(`tcp://127.0.0.1:${server.tcp}`, FAST), (error) =>
    isHoldfastError(error, "establish-refused"),
  );
  await server.stop();
});

test("a resume is signed where the client asked for it", async () => {
  const server = await node();
  const cut = await new CutLink().start(server.tcp);
  server.dialogs.on("open", (dialog) => void reading(dialog));
  const here = await connect(`tcp://127.0.0.1:${cut.port}`, { ...FAST, proof: true });
  for (let turn = 0; turn < 3; turn++) {
    cut.reset();
    await until("the loss", () => !here.linked);
    await here.send(`${turn}`, { until: "acked" });
  }
  await here.finish();
  await cut.stop();
  await server.stop();
});
