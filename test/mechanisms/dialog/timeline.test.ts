import assert from "node:assert/strict";
import { test } from "node:test";
import type { Handle } from "../../../src/kernel/index.ts";
import { connect } from "../../../src/mechanisms/dialog/client-node.ts";
import type { Dialog } from "../../../src/mechanisms/dialog/index.ts";
import { CutLink } from "./cut-link.ts";
import { reading, served, until } from "./served.ts";

test("a dialog's timeline tells its links, turns and sync points, and does not grow with every one of them", async () => {
  const server = await served();
  const cut = await new CutLink().start(server.port);
  let there: Dialog | undefined;
  server.dialogs.on("open", (dialog) => {
    there = dialog;
    reading(dialog);
    dialog.on("wanted", () => void dialog.giveTurn().catch(() => undefined));
  });
  const here = await connect(`ws://127.0.0.1:${cut.port}/dialog`, {
    authorization: "ann",
    mode: "half-duplex",
    sync: true,
    reconnect: { minMs: 5, maxMs: 50 },
  });
  const timeline = () => server.kernel.store.timeline(here.handle as Handle);
  const told = async (name: string) =>
    (await timeline())
      .flatMap(({ event, detail }) => (event === "note" ? [detail?.[name]] : []))
      .filter((one) => one !== undefined);
  await here.giveTurn();
  await until("the turn", async () => (await told("turn")).includes("responder"));
  // A hundred turns and points in less than the time between two lines.
  for (let turn = 0; turn < 50; turn++) {
    await here.takeTurn();
    const { confirmed } = await here.minorSync();
    await confirmed;
    await here.giveTurn();
    await until("the turn there", () => there?.hasTurn === true);
  }
  await until("the last point", async () => (await told("minor")).includes(50));
  cut.reset();
  await until("the loss", () => !here.linked);
  await here.takeTurn();
  await until("the turn here", async () => (await told("turn")).at(-1) === "initiator");
  await here.majorSync();
  await until("the checkpoint", async () => (await timeline()).some(({ event }) => event === "checkpoint"));
  await here.finish();
  await until("the end", async () => (await timeline()).some(({ event }) => event === "end"));
  const events = (await timeline()).map(({ event }) => event);
  for (const event of ["establish", "resume", "checkpoint", "end"])
    assert.ok(events.includes(event as never), events.join(" "));
  assert.ok(events.filter((event) => event === "note").length < 50, events.join(" "));
  assert.deepEqual(server.faults, []);
  await cut.stop();
  await server.stop();
});
