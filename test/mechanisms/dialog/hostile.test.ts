import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { test } from "node:test";
import type { Handle } from "../../../src/kernel/index.ts";
import { createKernel } from "../../../src/kernel/index.ts";
import type { KernelPolicy } from "../../../src/kernel/index.ts";
import { decodeFrames, encodeFrame } from "../../../src/mechanisms/dialog/codec.ts";
import type { Frame } from "../../../src/mechanisms/dialog/frames.ts";
import { ABORT, REFUSED } from "../../../src/mechanisms/dialog/numbers.ts";
import * as UNIT from "../../../src/mechanisms/dialog/units.ts";
import type { Dialog } from "../../../src/mechanisms/dialog/index.ts";
import { createDialogs } from "../../../src/mechanisms/dialog/index.ts";
import { RecordSplitter, toRecord } from "../../../src/mechanisms/dialog/records.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { isFault } from "../../../src/wire/fault.ts";

/** A peer that says what it likes. */
class RawPeer {
  readonly frames: Frame[] = [];
  closed = false;
  readonly #socket: Socket;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.#socket = connect(port, "127.0.0.1");
    const splitter = new RecordSplitter(1 << 24);
    this.#socket.on("data", (chunk) => {
      const records = splitter.push(chunk);
      if (isFault(records)) assert.fail(records.why);
      for (const record of records) {
        const frames = decodeFrames(record);
        if (isFault(frames)) assert.fail(frames.why);
        this.frames.push(...frames);
      }
      this.#wake();
    });
    this.#socket.on("error", () => undefined);
    this.#socket.on("close", () => {
      this.closed = true;
      this.#wake();
    });
  }

  say(...frames: readonly Frame[]): void {
    this.raw(toRecord(Buffer.concat(frames.map(encodeFrame))));
  }

  raw(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  async hears<Type extends Frame["type"]>(type: Type): Promise<Extract<Frame, { type: Type }>> {
    for (;;) {
      const found = this.frames.find((frame): frame is Extract<Frame, { type: Type }> => frame.type === type);
      if (found !== undefined) return found;
      if (this.closed)
        assert.fail(`closed without ${type}, after ${this.frames.map((one) => one.type).join(", ")}`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  async end(): Promise<void> {
    while (!this.closed) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  leave(): void {
    this.#socket.destroy();
  }
}

const CREDIT = { messages: 100, bytes: 100_000 };
const OPEN: Frame = {
  type: "open",
  version: 1,
  units: UNIT.halfDuplex | UNIT.minor | UNIT.resync | UNIT.urgent,
  placement: 0,
  checkpointBytes: 0,
  checkpointWindow: 0,
  maxMessageBytes: 1000,
  credit: CREDIT,
  holdMs: 60_000,
  proofKey: new Uint8Array(0),
  authorization: "ann",
  label: "",
  data: new Uint8Array(0),
};

async function server(policy: Partial<KernelPolicy> = {}) {
  const faults: unknown[] = [];
  const kernel = createKernel({ store: memory(), policy, onFault: (error) => faults.push(error) });
  await kernel.start();
  const dialogs = createDialogs({
    kernel,
    authenticate: ({ authorization }) => (authorization === "" ? undefined : { principal: authorization }),
    onFault: (error) => faults.push(error),
    credit: { messages: 50, bytes: 10_000 },
  });
  const opened: Dialog[] = [];
  dialogs.on("open", (dialog) => opened.push(dialog));
  const { port } = await dialogs.listen();
  return {
    kernel,
    port,
    opened,
    faults,
    stop: async () => {
      await dialogs.close();
      await kernel.close();
    },
  };
}

function resume(
  handle: string,
  secret: string,
  more: Partial<Extract<Frame, { type: "resume" }>> = {},
): Frame {
  const position = { next: 0, committed: 0, sent: 0 };
  return { type: "resume", handle, secret, authorization: "ann", position, credit: CREDIT, ...more };
}

test("nothing is repeated to a wrong principal, without a name, with a wrong secret, to a locked or a revoked one", async () => {
  const { kernel, port, opened, stop } = await server();
  const owner = new RawPeer(port);
  owner.say(OPEN);
  const { handle, secret } = await owner.hears("opened");
  owner.say({ type: "token-give", tokens: 1 });
  await new Promise<void>((resolve) => void opened[0]?.on("turn", () => resolve()));
  await opened[0]?.send("a secret of ann's");
  await owner.hears("text");
  owner.leave();
  await owner.end();
  const attempts: [Frame, number][] = [
    [resume(handle, secret, { authorization: "" }), REFUSED.unauthorized],
    [resume(handle, secret, { authorization: "eve" }), REFUSED.unknown],
    [resume(handle, `${secret.slice(0, -2)}AA`), REFUSED.unknown],
    [resume(handle, ""), REFUSED.unknown],
    [resume("0000000000000000000", secret), REFUSED.unknown],
    [resume(handle, secret, { position: { next: 9, committed: 0, sent: 0 } }), REFUSED.outOfStep],
  ];
  for (const [frame, code] of attempts) {
    const peer = new RawPeer(port);
    peer.say(frame);
    assert.equal((await peer.hears("refused")).code, code, JSON.stringify(frame));
    await peer.end();
    assert.deepEqual(
      peer.frames.map((one) => one.type),
      ["refused"],
    );
  }
  await kernel.lock({ selector: { principal: "ann" }, reason: "lost phone" });
  const late = new RawPeer(port);
  late.say(resume(handle, secret));
  assert.equal((await late.hears("refused")).code, REFUSED.locked);
  await late.end();
  assert.deepEqual(
    late.frames.map((one) => one.type),
    ["refused"],
  );
  await stop();
});

test("a secret that was used up is a theft: the dialog ends for everybody, and says so in its journal", async () => {
  const { kernel, port, stop } = await server({ quietMs: 0 });
  const owner = new RawPeer(port);
  owner.say(OPEN);
  const { handle, secret: stolen } = await owner.hears("opened");
  owner.leave();
  const again = new RawPeer(port);
  again.say(resume(handle, stolen));
  const { secret: fresh } = await again.hears("resumed");
  // Its first frame: from now on the old secret is spent.
  again.say({ type: "ack", next: 0, credit: CREDIT }, { type: "ping", id: 1, sent: 0, next: 0 });
  await again.hears("pong");
  const record = async () => kernel.lookUp(handle as Handle, { ended: true });
  const giveUp = Date.now() + 60_000;
  while ((await record())?.credentials.pending !== undefined) {
    assert.ok(Date.now() < giveUp);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const thief = new RawPeer(port);
  thief.say(resume(handle, stolen));
  assert.equal((await thief.hears("refused")).code, REFUSED.unknown);
  assert.equal((await again.hears("abort")).code, ABORT.revoked);
  await again.end();
  assert.equal((await record())?.ended?.reason, "revoked");
  const timeline = await kernel.store.timeline(handle as Handle);
  assert.ok(timeline.some((entry) => entry.event === "reuse"));
  const owner2 = new RawPeer(port);
  owner2.say(resume(handle, fresh));
  assert.equal((await owner2.hears("refused")).code, REFUSED.locked);
  await stop();
});

test("a RESUMED that got lost costs nothing: the secret before it is good until the new one was seen", async () => {
  const { port, stop } = await server();
  const owner = new RawPeer(port);
  owner.say(OPEN);
  const { handle, secret } = await owner.hears("opened");
  for (let turn = 0; turn < 5; turn++) {
    const lost = new RawPeer(port);
    lost.say(resume(handle, secret));
    await lost.hears("resumed");
    lost.leave();
  }
  const peer = new RawPeer(port);
  peer.say(resume(handle, secret));
  const { secret: fresh } = await peer.hears("resumed");
  const last = new RawPeer(port);
  last.say(resume(handle, fresh));
  await last.hears("resumed");
  await peer.end();
  await stop();
});

test("a RESUME that was held up on a dead link takes the dialog from nobody, however late it comes", async () => {
  const { kernel, port, stop } = await server();
  const owner = new RawPeer(port);
  owner.say(OPEN);
  const { handle, secret } = await owner.hears("opened");
  owner.leave();
  const peer = new RawPeer(port);
  peer.say(resume(handle, secret));
  const { secret: fresh } = await peer.hears("resumed");
  // Before the first frame behind RESUMED: what the peer was offered stays good, though another is offered now.
  const late = new RawPeer(port);
  late.say(resume(handle, secret));
  const { secret: never } = await late.hears("resumed");
  await peer.end();
  const again = new RawPeer(port);
  again.say(resume(handle, fresh));
  await again.hears("resumed");
  again.say({ type: "ack", next: 0, credit: CREDIT }, { type: "ping", id: 1, sent: 0, next: 0 });
  await again.hears("pong");
  // After it: the secret is spent, and that it comes once more so soon is no theft.
  const later = new RawPeer(port);
  later.say(resume(handle, secret));
  assert.equal((await later.hears("refused")).code, REFUSED.unknown);
  again.say({ type: "ping", id: 2, sent: 0, next: 0 });
  await again.hears("pong");
  assert.equal((await kernel.lookUp(handle as Handle))?.state, "established");
  // What was offered on the dead link is good for nobody any more.
  const thief = new RawPeer(port);
  thief.say(resume(handle, never));
  assert.equal((await thief.hears("refused")).code, REFUSED.unknown);
  assert.equal((await kernel.lookUp(handle as Handle, { ended: true }))?.ended?.reason, "revoked");
  await stop();
});

test("whoever breaks the rules is told which one, and the dialog is over", async () => {
  const { port, stop, faults } = await server();
  const bytes = new Uint8Array(10);
  const crimes: [Frame[], RegExp][] = [
    [
      [
        { type: "token-give", tokens: 1 },
        { type: "data", bytes },
      ],
      /data token/,
    ],
    [[{ type: "minor", serial: 77 }], /next sync point is 1/],
    [[{ type: "ack", next: 2 ** 50, credit: CREDIT }], /acknowledges/],
    [[{ type: "gap", from: 5, to: 2 ** 52, reason: "dropped" }], /a gap/],
    [Array.from({ length: 60 }, (): Frame => ({ type: "data", bytes })), /more than 50 messages/],
    [[{ type: "data", bytes: new Uint8Array(1001) }], /at most 1000/],
    [
      [
        {
          type: "opened",
          handle: "",
          secret: "",
          epoch: 0,
          units: 0,
          tokens: 0,
          checkpointBytes: 0,
          checkpointWindow: 0,
          maxMessageBytes: 0,
          credit: CREDIT,
          holdMs: 0,
          pingMs: 0,
        },
      ],
      /opening/,
    ],
  ];
  for (const [frames, why] of crimes) {
    const peer = new RawPeer(port);
    peer.say(OPEN);
    const { handle, secret } = await peer.hears("opened");
    peer.say(...frames);
    const abort = await peer.hears("abort");
    assert.equal(abort.code, ABORT.protocolError);
    assert.match(abort.why, why);
    await peer.end();
    const again = new RawPeer(port);
    again.say(resume(handle, secret));
    assert.equal((await again.hears("refused")).code, REFUSED.ended);
  }
  assert.deepEqual(faults, []);
  await stop();
});

test("noise before and after the opening closes the link and nothing else", async (t) => {
  const { port, stop, faults } = await server();
  for (let turn = 0; turn < 40; turn++) {
    const peer = new RawPeer(port);
    const noise = randomBytes(1 + (turn % 64));
    t.diagnostic(noise.toString("hex"));
    if (turn % 2 === 1) {
      peer.say(OPEN);
      await peer.hears("opened");
      peer.raw(toRecord(Uint8Array.of(0x3f, ...noise)));
    } else
      peer.raw(
        turn % 4 === 0 ? Buffer.concat([Buffer.alloc(4, 0xff), noise]) : toRecord(Uint8Array.of(0, ...noise)),
      );
    await peer.end();
  }
  const two = new RawPeer(port);
  two.say(OPEN, { type: "finish" });
  assert.equal((await two.hears("refused")).code, REFUSED.malformed);
  assert.deepEqual(faults, []);
  await stop();
});
