import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NetbiosName } from "../../../src/mechanisms/netbios/codec/name.ts";
import {
  encodeMessageHeader,
  encodeSessionPacket,
  KEEPALIVE,
} from "../../../src/mechanisms/netbios/codec/session.ts";
import type { AcceptorAction, AcceptorInput } from "../../../src/mechanisms/netbios/machine/acceptor.ts";
import { Acceptor } from "../../../src/mechanisms/netbios/machine/acceptor.ts";
import type { CallerAction } from "../../../src/mechanisms/netbios/machine/caller.ts";
import { Caller } from "../../../src/mechanisms/netbios/machine/caller.ts";
import { Flow } from "../../../src/mechanisms/netbios/machine/flow.ts";
import { Scanner } from "../../../src/mechanisms/netbios/machine/scanner.ts";
import { isFault } from "../../../src/wire/index.ts";

const called: NetbiosName = { name: "FILESRV", suffix: 0x20, scope: "" };
const calling: NetbiosName = { name: "MYCLIENT", suffix: 0, scope: "" };
const REQUEST = encodeSessionPacket({ type: "session-request", called, calling });
const START = 1_800_000_000_000;

function acceptor(): Acceptor {
  return new Acceptor({ bits: 24, handshakeMs: 1_000, now: START });
}

/** Feeds `pieces` one after the other; what all of them came to. */
function feed(machine: Acceptor, pieces: readonly Buffer[]): AcceptorAction[] {
  return pieces.flatMap((bytes) => machine.handle({ type: "bytes", bytes }, START));
}

function message(payload: string): Buffer {
  const bytes = Buffer.from(payload);
  return Buffer.concat([encodeMessageHeader(bytes.length), bytes]);
}

/** `bytes` in two pieces, cut at every place. */
function* cuts(bytes: Buffer): Generator<[Buffer, Buffer], void, undefined> {
  for (let at = 0; at <= bytes.length; at++) yield [bytes.subarray(0, at), bytes.subarray(at)];
}

test("RFC 1002 §4.3.2: a request cut at any byte is one request, and what comes behind it is the session's first data", () => {
  const stream = Buffer.concat([REQUEST, message("early")]);
  for (const pieces of cuts(stream)) {
    const machine = acceptor();
    const actions = feed(machine, pieces);
    assert.deepEqual(actions, [{ type: "requested", called, calling }]);
    const [send, open] = machine.handle({ type: "accept" }, START);
    assert.deepEqual(send, { type: "send", bytes: Buffer.from("82000000", "hex") });
    assert.ok(open?.type === "open");
    assert.equal(open.early.toString("hex"), message("early").toString("hex"));
  }
  const oneByOne = acceptor();
  assert.equal(
    feed(
      oneByOne,
      [...REQUEST].map((byte) => Buffer.from([byte])),
    ).length,
    1,
  );
});

test("RFC 1002 §4.3.7: keepalives before the request are legal, but not without end", () => {
  const machine = acceptor();
  const actions = feed(machine, [KEEPALIVE, Buffer.concat([KEEPALIVE, KEEPALIVE, REQUEST])]);
  assert.deepEqual(actions, [{ type: "requested", called, calling }]);
  const flooded = feed(
    acceptor(),
    Array.from({ length: 1000 }, () => KEEPALIVE),
  );
  assert.deepEqual(
    flooded.map(({ type }) => type),
    ["close"],
  );
});

test("RFC 1002 §4.3.4: each refusal goes out as its code, and the connection is closed", () => {
  for (const code of [0x80, 0x81, 0x82, 0x83, 0x8f]) {
    const machine = acceptor();
    feed(machine, [REQUEST]);
    assert.deepEqual(machine.handle({ type: "refuse", code }, START), [
      { type: "send", bytes: Buffer.from([0x83, 0, 0, 1, code]) },
      { type: "close", why: "refused" },
    ]);
    assert.equal(machine.state, "closed");
  }
});

test("RFC 1002 §4.3.5: a retarget carries address and port", () => {
  const machine = acceptor();
  feed(machine, [REQUEST]);
  const actions = machine.handle({ type: "retarget", address: "127.0.0.1", port: 1390 }, START);
  assert.deepEqual(actions, [
    { type: "send", bytes: Buffer.from("840000067f000001056e", "hex") },
    { type: "close", why: "retargeted" },
  ]);
});

test("RFC 1002 §4.3.6: a message before a session closes, from its first byte and without an answer", () => {
  for (const bytes of [Buffer.from([0]), message(""), message("hello"), Buffer.from("0001ffff", "hex")]) {
    const actions = feed(acceptor(), [bytes]);
    assert.equal(actions.length, 1);
    assert.ok(
      actions[0]?.type === "close" &&
        actions[0].why === "protocol-error" &&
        actions[0].fault?.fault === "misbehaved",
    );
  }
});

test("what is no session packet, or an answer where a question belongs, closes without an answer", () => {
  const wrong = ["ff", "82000000", "8300000182", "840000067f000001056e", "85000001", "474554202f"];
  for (const hex of wrong) {
    const actions = feed(acceptor(), [Buffer.from(hex, "hex")]);
    assert.deepEqual(
      actions.map(({ type }) => type),
      ["close"],
      hex,
    );
  }
});

test("a request that cannot be read is answered 0x8F", () => {
  const broken = Buffer.from(REQUEST);
  broken[7] = 0x7a;
  const actions = feed(acceptor(), [broken]);
  assert.deepEqual(actions[0], { type: "send", bytes: Buffer.from("830000018f", "hex") });
  assert.ok(actions[1]?.type === "close" && actions[1].why === "protocol-error");
});

test("a connection that asks for nothing is closed at its deadline, however slowly it speaks", () => {
  const machine = acceptor();
  for (let index = 0; index < 9; index++) {
    machine.handle({ type: "bytes", bytes: REQUEST.subarray(index, index + 1) }, START + index * 100);
  }
  assert.equal(machine.deadlineAt, START + 1_000);
  assert.deepEqual(machine.handle({ type: "timeout" }, START + 999), []);
  assert.deepEqual(machine.handle({ type: "timeout" }, START + 1_000), [{ type: "close", why: "timeout" }]);
  const decided = acceptor();
  feed(decided, [REQUEST]);
  assert.equal(decided.deadlineAt, undefined);
});

test("the client going away closes, whatever was under way", () => {
  const machine = acceptor();
  assert.deepEqual(machine.handle({ type: "end" }, START), [{ type: "close", why: "gone" }]);
  const deciding = acceptor();
  feed(deciding, [REQUEST]);
  assert.deepEqual(deciding.handle({ type: "end" }, START), [{ type: "close", why: "gone" }]);
  assert.deepEqual(deciding.handle({ type: "accept" }, START), []);
});

test("what is held back before the answer is bounded", () => {
  const machine = acceptor();
  const actions = feed(machine, [REQUEST, ...Array.from({ length: 20 }, () => Buffer.alloc(16_384))]);
  assert.ok(actions.at(-1)?.type === "close");
});

function caller(): Caller {
  const machine = new Caller({ called, calling, bits: 24, handshakeMs: 1_000, now: START });
  assert.deepEqual(machine.handle({ type: "connected" }, START), [{ type: "send", bytes: REQUEST }]);
  return machine;
}

test("RFC 1002 §5.3.1: the caller understands each answer, cut at any byte", () => {
  const cases: readonly [Buffer, CallerAction["type"]][] = [
    [encodeSessionPacket({ type: "positive-response" }), "open"],
    [encodeSessionPacket({ type: "negative-response", code: 0x82 }), "refused"],
    [encodeSessionPacket({ type: "retarget-response", address: "10.0.0.1", port: 139 }), "retarget"],
    [message("x"), "failed"],
    [REQUEST, "failed"],
    [Buffer.from("ff000000", "hex"), "failed"],
  ];
  for (const [answer, type] of cases) {
    for (const [first, second] of cuts(Buffer.concat([KEEPALIVE, answer]))) {
      const machine = caller();
      const actions = [first, second].flatMap((bytes) => machine.handle({ type: "bytes", bytes }, START));
      assert.deepEqual(
        actions.map((action) => action.type),
        [type],
      );
      assert.ok(machine.over);
    }
  }
});

test("the caller gives up at its deadline, and when the other side closes", () => {
  const late = caller();
  assert.deepEqual(late.handle({ type: "timeout" }, START + 999), []);
  assert.deepEqual(late.handle({ type: "timeout" }, START + 1_000), [{ type: "failed", why: "timeout" }]);
  assert.deepEqual(caller().handle({ type: "end" }, START), [{ type: "failed", why: "gone" }]);
});

test("caller and acceptor come to terms over a wire that delivers one byte at a time", () => {
  const near = new Caller({ called, calling, bits: 24, handshakeMs: 1_000, now: START });
  const far = acceptor();
  const toFar: number[] = [];
  const toNear: number[] = [];
  let opened = 0;
  const ofFar = (actions: readonly AcceptorAction[]): void => {
    for (const action of actions) {
      if (action.type === "send") toNear.push(...action.bytes);
      if (action.type === "requested") ofFar(far.handle({ type: "accept" }, START));
      if (action.type === "open") opened++;
    }
  };
  const ofNear = (actions: readonly CallerAction[]): void => {
    for (const action of actions) {
      if (action.type === "send") toFar.push(...action.bytes);
      if (action.type === "open") opened++;
    }
  };
  ofNear(near.handle({ type: "connected" }, START));
  while (toFar.length + toNear.length > 0) {
    const up = toFar.shift();
    if (up !== undefined) ofFar(far.handle({ type: "bytes", bytes: Buffer.from([up]) }, START));
    const down = toNear.shift();
    if (down !== undefined) ofNear(near.handle({ type: "bytes", bytes: Buffer.from([down]) }, START));
  }
  assert.equal(opened, 2);
});

/** Messages, keepalives between them, and how the stream is cut. */
const streams = fc.record({
  parts: fc.array(fc.oneof(fc.constant(undefined), fc.uint8Array({ maxLength: 200 })), {
    minLength: 1,
    maxLength: 30,
  }),
  sizes: fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 20 }),
});

test("messages pass the scanner unchanged and keepalives do not, however the stream is cut", () => {
  fc.assert(
    fc.property(streams, ({ parts, sizes }) => {
      const packets = parts.map((part) =>
        part === undefined ? KEEPALIVE : Buffer.concat([encodeMessageHeader(part.length), part]),
      );
      const stream = Buffer.concat(packets);
      const scanner = new Scanner(24);
      const passed: Buffer[] = [];
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const size = sizes[turn % sizes.length] ?? 1;
        const bytes = scanner.scan(stream.subarray(at, at + size));
        assert.ok(!isFault(bytes));
        passed.push(Buffer.from(bytes));
        at += size;
      }
      const wanted = Buffer.concat(packets.filter((packet) => packet !== KEEPALIVE));
      assert.equal(Buffer.concat(passed).toString("hex"), wanted.toString("hex"));
      assert.equal(scanner.keepalives, parts.filter((part) => part === undefined).length);
      assert.equal(scanner.messages, parts.filter((part) => part !== undefined).length);
      assert.ok(scanner.atBoundary);
    }),
  );
});

test("a chunk without keepalives is passed on as it is, not copied", () => {
  const chunk = Buffer.concat([message("one"), message("two")]);
  assert.equal(new Scanner(24).scan(chunk), chunk);
});

test("within an open session only messages and keepalives have a place", () => {
  for (const bytes of [REQUEST, Buffer.from("82000000", "hex"), Buffer.from("ff", "hex")]) {
    const scanner = new Scanner(24);
    assert.ok(!isFault(scanner.scan(message("fine"))));
    assert.ok(isFault(scanner.scan(bytes)));
  }
  assert.ok(isFault(new Scanner(17).scan(Buffer.from("00020000", "hex"))));
  assert.ok(!isFault(new Scanner(24).scan(Buffer.from("00ffffff", "hex"))));
  assert.ok(isFault(new Scanner(24).scan(Buffer.from("85000001", "hex"))));
});

test("RFC 1002 §4.3.7: a keepalive goes out after silence, between messages and never within one", () => {
  const flow = new Flow({ bits: 24, near: { everyMs: 100, during: "idle" }, now: 0 });
  assert.equal(flow.keepaliveAt, 100);
  assert.equal(flow.keepalive("near", 99), undefined);
  assert.equal(flow.keepalive("far", 1_000), undefined, "no rule for that side");
  const bytes = message("hello");
  flow.down(bytes.subarray(0, 6), 50);
  assert.equal(flow.keepaliveAt, 150);
  assert.equal(flow.keepalive("near", 150), undefined, "within a message");
  flow.down(bytes.subarray(6), 160);
  assert.equal(flow.keepalive("near", 200), undefined, "not silent for long enough");
  assert.equal(flow.keepalive("near", 260), KEEPALIVE);
  assert.equal(flow.keepaliveAt, 360);
  flow.up(KEEPALIVE, 300);
  assert.deepEqual(flow.keepalivesReceived, { near: 1, far: 0 });
  assert.deepEqual(flow.keepalivesSent, { near: 1, far: 0 });
});

test("a keepalive that is due at any moment of a busy stream leaves every message whole", () => {
  fc.assert(
    fc.property(streams, ({ parts, sizes }) => {
      const payloads = parts.map((part) => part ?? new Uint8Array(0));
      const stream = Buffer.concat(
        payloads.map((part) => Buffer.concat([encodeMessageHeader(part.length), part])),
      );
      const flow = new Flow({ bits: 24, near: { everyMs: 1, during: "always" }, now: 0 });
      const wire: Buffer[] = [];
      let now = 0;
      for (let at = 0, turn = 0; at < stream.length; turn++) {
        const keepalive = flow.keepalive("near", ++now);
        if (keepalive !== undefined) wire.push(keepalive);
        const size = sizes[turn % sizes.length] ?? 1;
        const bytes = flow.down(stream.subarray(at, at + size), now);
        assert.ok(!isFault(bytes));
        wire.push(Buffer.from(bytes));
        at += size;
      }
      const receiver = new Scanner(24);
      const got = receiver.scan(Buffer.concat(wire));
      assert.ok(!isFault(got));
      assert.equal(got.toString("hex"), stream.toString("hex"));
      assert.equal(receiver.keepalives, flow.keepalivesSent.near);
      assert.ok(receiver.keepalives >= 1, "the first one, before the first message");
    }),
  );
});

test("inputs that make no sense at the moment change nothing", () => {
  const early: readonly AcceptorInput[] = [{ type: "accept" }, { type: "refuse", code: 0x82 }];
  for (const input of early) {
    const machine = acceptor();
    assert.deepEqual(machine.handle(input, START), []);
    assert.equal(machine.state, "waiting");
  }
});
