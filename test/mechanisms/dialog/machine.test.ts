import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeFrames, encodeFrame } from "../../../src/mechanisms/dialog/codec.ts";
import type { Frame } from "../../../src/mechanisms/dialog/frames.ts";
import { TOKEN } from "../../../src/mechanisms/dialog/numbers.ts";
import * as UNIT from "../../../src/mechanisms/dialog/units.ts";
import type { MachineOptions, Message } from "../../../src/mechanisms/dialog/machine/index.ts";
import {
  agree,
  DialogMachine,
  explain,
  fullRules,
  initialState,
  isRefused,
  plainRules,
  rulesFor,
} from "../../../src/mechanisms/dialog/machine/index.ts";
import { isFault } from "../../../src/wire/fault.ts";
import { agreement, randomRun, step } from "./random-dialog.ts";
import { SIDES, TwoPeers } from "./two-peers.ts";

const FULL =
  UNIT.halfDuplex |
  UNIT.minor |
  UNIT.major |
  UNIT.resync |
  UNIT.typed |
  UNIT.exceptions |
  UNIT.release |
  UNIT.urgent;

function pair(units: number, more: Partial<ConstructorParameters<typeof TwoPeers>[0]> = {}): TwoPeers {
  const peers = new TwoPeers({ agreement: agreement(units), ...more });
  for (const side of SIDES) {
    peers.store(side);
    peers.store(side);
  }
  peers.connect();
  peers.advance(5);
  peers.advance(5);
  return peers;
}

test("whatever happens to links and processes, nothing is lost, doubled or reordered, no token has two owners, and no restart crosses V(R)", () => {
  fc.assert(
    fc.property(
      fc.record({
        units: fc.integer({ min: 0, max: 4095 }),
        mode: fc.constantFrom(UNIT.halfDuplex, UNIT.duplex, UNIT.simplexDown, UNIT.simplexUp),
        placement: fc.integer({ min: 0, max: 255 }),
        logged: fc.tuple(fc.boolean(), fc.boolean()),
        steps: fc.uint8Array({ maxLength: 400, size: "max" }),
      }),
      ({ units, mode, placement, logged, steps }) => {
        const peers = new TwoPeers({ agreement: agreement((units & ~15) | mode, placement), logged });
        for (const side of SIDES) {
          peers.store(side);
          peers.store(side);
        }
        for (let index = 0; index + 1 < steps.length; index += 2)
          step(peers, steps[index] ?? 0, steps[index + 1] ?? 0);
        peers.settle();
        peers.verify({ purges: true });
      },
    ),
    { numRuns: 300 },
  );
});

test("a hundred thousand random steps add up", (t) => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000);
  t.diagnostic(`SEED=${seed}`);
  for (let run = 0; run < 330; run++) {
    assert.doesNotThrow(() => randomRun(seed + run, 300), `SEED=${seed + run}`);
  }
});

test("units are negotiated by intersection, and those without their condition fall away", () => {
  const proposal = { placement: 0, checkpointBytes: 0, checkpointWindow: 0, maxMessageBytes: 100 };
  const agreed = agree(
    {
      ...proposal,
      units: UNIT.halfDuplex | UNIT.duplex | UNIT.resync | UNIT.minor | UNIT.exceptions,
      checkpointWindow: 4,
    },
    { ...proposal, units: UNIT.duplex | UNIT.simplexUp | UNIT.resync | UNIT.exceptions, maxMessageBytes: 50 },
  );
  assert.deepEqual(agreed, {
    units: UNIT.duplex,
    tokens: 0,
    checkpointBytes: 0,
    checkpointWindow: 4,
    maxMessageBytes: 50,
  });
  assert.equal(
    agree({ ...proposal, units: UNIT.duplex }, { ...proposal, units: UNIT.halfDuplex }),
    undefined,
  );
});

test("half-duplex: only who has the turn speaks, and the turn is given, asked for and never doubled", () => {
  const peers = pair(UNIT.halfDuplex);
  assert.equal(peers.send(0, "mine"), true);
  assert.equal(peers.send(1, "no turn"), false);
  assert.equal(peers.machine(1).please(TOKEN.data), undefined);
  peers.advance(3);
  assert.equal(peers.request(0, { type: "token-give", tokens: TOKEN.data }), true);
  assert.equal(
    peers.machine(0).tokens | peers.machine(1).tokens,
    0,
    "on its way the token belongs to nobody",
  );
  assert.equal(peers.send(0, "no more"), false);
  peers.cut();
  peers.settle();
  assert.equal(peers.machine(1).tokens, TOKEN.data);
  assert.equal(peers.send(1, "my turn"), true);
  peers.settle();
  peers.verify({ purges: false });
});

test("a request for the turn that was lost with its link is made again over the next one", () => {
  const peers = pair(UNIT.halfDuplex);
  peers.lose(1);
  peers.machine(1).please(TOKEN.data);
  const heard: string[] = [];
  const take = peers.machine(0).takeEvents.bind(peers.machine(0));
  peers.machine(0).takeEvents = () => {
    const events = take();
    heard.push(...events.map((event) => event.type));
    return events;
  };
  peers.settle();
  assert.ok(heard.includes("please"));
});

test("a restart goes back to a confirmed point, never behind a major one, and purges what was under way", () => {
  const peers = pair(UNIT.duplex | UNIT.minor | UNIT.major | UNIT.resync);
  assert.ok(peers.request(0, { type: "minor", serial: 1 }));
  assert.ok(peers.request(0, { type: "major", serial: 2 }));
  peers.settle();
  assert.equal(peers.machine(0).state.vr, 3);
  assert.equal(peers.request(0, { type: "resync", kind: "restart", serial: 2, placement: 0 }), false);
  peers.request(0, { type: "minor", serial: 3 });
  peers.request(0, { type: "minor", serial: 4 });
  peers.send(1, "void");
  peers.send(0, "void too");
  assert.ok(peers.request(0, { type: "resync", kind: "restart", serial: 3, placement: 0 }));
  peers.settle();
  peers.verify({ purges: true });
  assert.equal(peers.machine(1).state.vm, 3);
  assert.deepEqual(peers.peers[0].effects, []);
  assert.deepEqual(peers.peers[1].effects, []);
});

test("two purges that cross: discard before interrupt before abandon before set before restart; the lower restart; the initiator", () => {
  const units = UNIT.duplex | UNIT.minor | UNIT.resync;
  const cases = [
    { one: ["restart", 2], two: ["restart", 1], winner: 1 },
    { one: ["restart", 2], two: ["restart", 2], winner: 0 },
    { one: ["restart", 1], two: ["set", 500], winner: 1 },
    { one: ["abandon", 4], two: ["set", 500], winner: 0 },
    { one: ["set", 7], two: ["set", 8], winner: 0 },
  ] as const;
  for (const { one, two, winner } of cases) {
    const peers = pair(units);
    for (const serial of [1, 2, 3]) peers.request(0, { type: "minor", serial });
    peers.settle();
    assert.ok(peers.request(0, { type: "resync", kind: one[0], serial: one[1], placement: 0 }));
    assert.ok(peers.request(1, { type: "resync", kind: two[0], serial: two[1], placement: 0x55 }));
    peers.settle();
    peers.verify({ purges: true });
    const { vm, tokens } = peers.machine(0).state;
    assert.equal(vm, winner === 0 ? one[1] : two[1]);
    assert.equal(tokens, winner === 0 ? TOKEN.minor : 0);
  }
});

test("a restart that crosses the confirmation of a major point goes on behind that point, on both sides", () => {
  const peers = pair(UNIT.duplex | UNIT.minor | UNIT.major | UNIT.resync, { latency: 10 });
  peers.advance(40);
  peers.advance(40);
  peers.request(0, { type: "minor", serial: 1 });
  peers.request(0, { type: "major", serial: 2 });
  peers.advance(1);
  peers.advance(10);
  assert.ok(peers.answer(1), "confirmed, and the confirmation is under way");
  assert.ok(peers.request(0, { type: "resync", kind: "restart", serial: 1, placement: 0 }));
  peers.settle();
  peers.verify({ purges: true });
  assert.equal(peers.machine(0).state.vm, 3);
});

test("an activity is interrupted in one dialog and resumed at its point in another", () => {
  const units = UNIT.duplex | UNIT.minor | UNIT.activity | UNIT.resync;
  const first = pair(units);
  assert.equal(first.send(0, "outside"), false);
  assert.ok(first.request(0, { type: "activity-start", id: "job" }));
  first.send(0, "part one");
  first.request(0, { type: "minor", serial: 1 });
  first.settle();
  assert.ok(first.request(0, { type: "activity-interrupt", reason: 1 }));
  first.settle();
  assert.equal(first.machine(1).state.activity, undefined);
  const second = pair(units);
  assert.ok(
    second.request(0, { type: "activity-resume", id: "job-2", oldId: "job", oldHandle: "h", serial: 1 }),
  );
  assert.equal(second.machine(0).state.vm, 2);
  second.send(0, "part two");
  assert.ok(second.request(0, { type: "activity-end", serial: 2 }));
  second.settle();
  second.verify({ purges: false });
  assert.equal(second.machine(0).state.activity, undefined);
});

test("finish needs every token, may be refused where that was agreed on, and crosses without harm", () => {
  const peers = pair(UNIT.duplex | UNIT.release);
  assert.equal(peers.request(1, { type: "finish" }), false);
  assert.ok(peers.request(0, { type: "finish" }));
  peers.advance(2);
  peers.advance(2);
  assert.ok(peers.request(1, { type: "finish-refused" }));
  peers.settle();
  assert.ok(peers.send(0, "then not"));
  const crossing = pair(UNIT.duplex);
  crossing.send(0, "last of 0");
  crossing.send(1, "last of 1");
  assert.ok(crossing.request(0, { type: "finish" }));
  assert.ok(crossing.request(1, { type: "finish" }));
  crossing.settle();
  for (const side of SIDES) {
    assert.equal(crossing.machine(side).settled, true);
    assert.equal(crossing.peers[side].effects.length, 1);
  }
});

test("a sync point is set by itself after so many bytes, and data waits while too many are unconfirmed", () => {
  const peers = new TwoPeers({ agreement: agreement(UNIT.simplexUp | UNIT.minor, 0, [100, 2]) });
  peers.connect();
  peers.advance(5);
  let sent = 0;
  while (peers.send(0, "x".repeat(50))) sent++;
  assert.equal(sent, 4);
  peers.settle();
  assert.equal(peers.machine(1).state.vm, 3);
  assert.ok(peers.send(0, "more"));
});

test("a feed that keeps its newest tells of what it dropped", () => {
  const peers = new TwoPeers({ agreement: agreement(UNIT.simplexDown), keepNewest: 10 });
  for (let index = 0; index < 1000; index++) assert.ok(peers.send(1, `${index}`));
  assert.ok(peers.machine(1).writable);
  peers.settle();
  peers.verify({ purges: false });
  const [gap] = peers.peers[0].gaps;
  assert.equal(gap?.from, 0);
  assert.ok(gap.to >= 988 && gap.to < 990, `dropped up to ${gap.to}`);
  assert.equal(peers.peers[0].effects.at(-1)?.text, "999");
});

test("what waits for a peer that is away is not held in memory when there is a log", () => {
  const peers = pair(UNIT.duplex, { logged: [true, false] });
  peers.cut();
  for (let index = 0; index < 5000; index++) {
    assert.ok(peers.send(0, `message ${index}`));
    if (index % 50 === 0) while (peers.store(0));
  }
  while (peers.store(0));
  peers.crash(0);
  peers.settle();
  peers.verify({ purges: false });
  assert.equal(peers.peers[1].effects.length, 5000);
});

test("urgent messages overtake, are few, and do not outlive their link", () => {
  const peers = pair(UNIT.duplex | UNIT.urgent);
  const bytes = new TextEncoder().encode("!");
  for (let index = 0; index < 8; index++) assert.equal(peers.machine(0).urgent(bytes), undefined);
  assert.ok(isRefused(peers.machine(0).urgent(bytes)));
  peers.settle();
  assert.equal(peers.peers[1].urgent.length, 8);
  assert.ok(isRefused(peers.machine(0).urgent(new Uint8Array(1025))));
  peers.cut();
  assert.ok(isRefused(peers.machine(0).urgent(bytes)));
});

test("a link that has gone silent is asked once, and then given up", () => {
  const peers = pair(UNIT.duplex);
  peers.lose(1);
  const { now } = peers;
  peers.advance(1000);
  assert.equal(peers.machine(0).linked, true);
  peers.advance(1000);
  assert.equal(peers.machine(0).linked, false);
  assert.ok(peers.now - now <= 2000);
});

test("who gives the turn away and wants it back at once asks behind the gift", () => {
  const peers = pair(UNIT.halfDuplex);
  assert.ok(peers.request(0, { type: "token-give", tokens: TOKEN.data }));
  assert.equal(peers.machine(0).please(TOKEN.data), undefined);
  const heard: string[] = [];
  const take = peers.machine(1).takeEvents.bind(peers.machine(1));
  peers.machine(1).takeEvents = () => {
    const events = take();
    heard.push(...events.map((event) => event.type));
    return events;
  };
  peers.settle();
  assert.deepEqual(
    heard.filter((type) => type === "please" || type === "indication"),
    ["indication", "please"],
  );
  assert.ok(peers.request(1, { type: "token-give", tokens: TOKEN.data }));
  peers.settle();
  assert.equal(peers.machine(0).tokens, TOKEN.data);
});

// ── what a peer does that it must not ─────────────────────────────────────────────────────────────────────────

const OPTIONS: Omit<MachineOptions, "agreement" | "rules"> = {
  side: 1,
  credit: { messages: 4, bytes: 100 },
  outboxBytes: 1000,
  pingMs: 1000,
};
const START = { next: 0, committed: 0, sent: 0 };

function hostile(units: number, frames: readonly Frame[]): string | undefined {
  const machine = new DialogMachine({ ...OPTIONS, agreement: agreement(units), rules: rulesFor(units) });
  assert.equal(machine.linkUp(START, { messages: 4, bytes: 100 }, 0), undefined);
  const before = structuredClone(machine.state);
  let why: string | undefined;
  for (const frame of frames) {
    const outcome = machine.receive(encodeFrame(frame), 0);
    if (outcome === undefined) continue;
    assert.equal(outcome.fault, "misbehaved");
    why = explain(outcome.why);
    break;
  }
  if (frames.length === 1) assert.deepEqual(machine.state, before, "what is refused changes nothing");
  return why;
}

test("a hostile peer gets a reason, and its message changes nothing", () => {
  const bytes = new Uint8Array(1);
  const cases: [number, Frame[], RegExp][] = [
    [
      FULL,
      [
        { type: "token-give", tokens: 1 },
        { type: "data", bytes },
      ],
      /needs the data token/,
    ],
    [
      FULL,
      [
        { type: "token-give", tokens: 1 },
        { type: "token-give", tokens: 1 },
      ],
      /does not have the data token/,
    ],
    [UNIT.duplex, [{ type: "token-give", tokens: 1 }], /was not agreed on/],
    [UNIT.simplexDown, [{ type: "data", bytes }], /only the other side speaks/],
    [FULL, [{ type: "minor", serial: 999_999 }], /next sync point is 1/],
    [FULL, [{ type: "minor-ack", serial: 0 }], /no minor sync point/],
    [FULL, [{ type: "major-ack", serial: 1 }], /no such major/],
    [FULL, [{ type: "resync", kind: "restart", serial: 2, placement: 0 }], /restart is from 1/],
    [FULL, [{ type: "resync-ack", serial: 1, tokens: 0 }], /nothing to be answered/],
    [
      FULL,
      [
        { type: "resync", kind: "set", serial: 5, placement: 0 },
        { type: "data", bytes },
      ],
      /not answered yet/,
    ],
    [
      FULL,
      [
        { type: "major", serial: 1 },
        { type: "data", bytes },
      ],
      /not confirmed yet/,
    ],
    [FULL, [{ type: "activity-start", id: "a" }], /was not agreed on/],
    [FULL, [{ type: "finish" }, { type: "data", bytes }], /asked to finish/],
    [FULL, [{ type: "finish-ack" }], /nobody has asked/],
    [FULL, [{ type: "ack", next: 1, credit: { messages: 1, bytes: 1 } }], /acknowledges up to 1/],
    [
      FULL,
      [{ type: "ack", next: Number.MAX_SAFE_INTEGER, credit: { messages: 1, bytes: 1 } }],
      /acknowledges up to/,
    ],
    [FULL, [{ type: "ping", id: 1, sent: 7, next: 0 }], /has sent 7/],
    [FULL, [{ type: "pong", id: 1 }], /not sent/],
    [FULL, [{ type: "gap", from: 0, to: Number.MAX_SAFE_INTEGER, reason: "purged" }], /a gap from 0/],
    [UNIT.duplex, [{ type: "gap", from: 0, to: 9, reason: "dropped" }], /no messages are dropped/],
    [FULL, [{ type: "token-please", tokens: 0 }], /can be meant/],
    [FULL, [{ type: "urgent-ack", count: 1 }], /not sent/],
    [FULL, Array.from({ length: 9 }, (): Frame => ({ type: "urgent", bytes })), /more than 8/],
    [FULL, Array.from({ length: 5 }, (): Frame => ({ type: "data", bytes })), /more than 4 messages/],
    [
      FULL,
      Array.from({ length: 3 }, (): Frame => ({ type: "data", bytes: new Uint8Array(50) })),
      /more than 100 bytes/,
    ],
    [FULL, [{ type: "refused", code: 1, retryMs: 0, why: "" }], /belongs to the opening/],
  ];
  for (const [units, frames, why] of cases) assert.match(hostile(units, frames) ?? "accepted", why);
});

test("a peer that claims positions that cannot be is not gone on with", () => {
  const machine = new DialogMachine({
    ...OPTIONS,
    agreement: agreement(UNIT.duplex),
    rules: rulesFor(UNIT.duplex),
  });
  const credit = { messages: 4, bytes: 100 };
  assert.ok(isFault(machine.linkUp({ next: 1, committed: 0, sent: 0 }, credit, 0)));
  assert.ok(isFault(machine.linkUp({ next: 0, committed: 1, sent: 0 }, credit, 0)));
  assert.equal(machine.linkUp(START, credit, 0), undefined);
  machine.receive(encodeFrame({ type: "data", bytes: new Uint8Array(1) }), 0);
  machine.linkDown();
  assert.ok(isFault(machine.linkUp(START, credit, 0)), "it has forgotten what it had sent");
});

test("random frames never throw and never leave a state that cannot be", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16, max: 4095 }),
      fc.array(fc.uint8Array({ maxLength: 12 }), { maxLength: 60 }),
      (units, messages) => {
        const machine = new DialogMachine({
          ...OPTIONS,
          agreement: agreement((units & ~15) | UNIT.halfDuplex),
          rules: fullRules,
        });
        machine.linkUp(START, { messages: 4, bytes: 100 }, 0);
        for (const bytes of messages) {
          // The first byte picks a type that exists more often than not.
          if (bytes.length > 0) bytes[0] = 0x10 + ((bytes[0] ?? 0) % 0x17);
          if (machine.receive(bytes, 0) !== undefined) break;
          for (const event of machine.takeEvents())
            if (event.type === "content") machine.commit(event.number);
          const { va, vm, vr } = machine.state;
          assert.ok(vr <= va && va <= vm);
          const output = machine.output(1000);
          if (output !== undefined) assert.ok(!isFault(decodeFrames(output)));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("the rules of a dialog without tokens and sync points are all the rules, where those are all it can break", () => {
  const types = ["data", "text", "typed"] as const;
  const message = fc.oneof(
    fc.record({ type: fc.constantFrom(...types), bytes: fc.uint8Array({ maxLength: 12 }) }),
    fc.constantFrom<Message>(
      { type: "finish" },
      { type: "finish-ack" },
      { type: "finish-refused" },
      { type: "minor", serial: 1 },
      { type: "token-give", tokens: 1 },
      { type: "resync", kind: "set", serial: 1, placement: 0 },
      { type: "exception", reason: 0, why: "" },
      { type: "activity-start", id: "a" },
    ),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(UNIT.duplex, UNIT.simplexDown, UNIT.simplexUp),
      fc.constantFrom(0, UNIT.typed, UNIT.urgent),
      fc.array(fc.tuple(message, fc.constantFrom<0 | 1>(0, 1), fc.boolean()), { maxLength: 12 }),
      (mode, more, steps) => {
        const agreed = { ...agreement(mode | more), maxMessageBytes: 10 };
        const plain = initialState(agreed);
        const full = initialState(agreed);
        for (const [one, side, own] of steps) {
          const why = plainRules.objection(agreed, plain, one, side, own);
          const reason = fullRules.objection(agreed, full, one, side, own);
          assert.equal(why === undefined, reason === undefined, `${one.type}: ${why} / ${reason}`);
          if (why !== undefined) continue;
          plainRules.apply(agreed, plain, one, side);
          fullRules.apply(agreed, full, one, side);
          assert.deepEqual(plain, full);
        }
      },
    ),
    { numRuns: 3000 },
  );
});
