import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetbiosName } from "../../../src/mechanisms/netbios/codec/name.ts";
import type { NamePacket, ResourceRecord } from "../../../src/mechanisms/netbios/codec/name-service.ts";
import {
  decodeNamePacket,
  encodeNamePacket,
  namePacket,
  OPCODE,
  RCODE,
  RR_TYPE,
} from "../../../src/mechanisms/netbios/codec/name-service.ts";
import { NameRequest } from "../../../src/mechanisms/netbios/machine/name-request.ts";
import type {
  NameServerAction,
  NameServerOptions,
} from "../../../src/mechanisms/netbios/machine/name-server.ts";
import { NameServer } from "../../../src/mechanisms/netbios/machine/name-server.ts";
import { isFault } from "../../../src/wire/index.ts";
import { NAME_PACKETS } from "../../vectors/netbios.ts";

const name = (text: string, suffix = 0x20): NetbiosName => ({ name: text, suffix, scope: "" });
const GATEWAY = "10.77.0.2";
const START = 1_800_000_000_000;

function server(options: Partial<NameServerOptions> = {}): NameServer {
  return new NameServer({
    own: [
      { name: name("FILESRV"), group: false, addresses: [GATEWAY] },
      { name: name("FILESRV", 0), group: false, addresses: [GATEWAY] },
    ],
    register: "own-address",
    maxNames: 100,
    maxNamesPerAddress: 10,
    ttlMs: 3_600_000,
    requestsPerSecond: 1_000,
    unitId: "02:00:00:00:00:01",
    ...options,
  });
}

/** Hands a packet over, through the codec both ways. */
function ask(
  machine: NameServer,
  packet: NamePacket,
  address = "10.77.0.1",
  now = START,
): readonly NameServerAction[] {
  const decoded = decodeNamePacket(encodeNamePacket(packet));
  assert.ok(!isFault(decoded));
  return machine.handle({ type: "packet", packet: decoded, from: { address, port: 137 } }, now);
}

/** The only packet in `actions`. */
function sent(actions: readonly NameServerAction[]): NamePacket {
  const packets = actions.flatMap((action) => (action.type === "send" ? [action.packet] : []));
  assert.equal(packets.length, 1);
  return packets[0] ?? namePacket({ id: 0, opcode: 0 });
}

function query(of: NetbiosName, more: Partial<NamePacket> = {}): NamePacket {
  const questions = [{ name: of, type: RR_TYPE.nb }];
  return namePacket({ id: 1, opcode: OPCODE.query, recursionDesired: true, questions, ...more });
}

function claim(
  of: NetbiosName,
  address: string,
  more: Partial<NamePacket> & { group?: boolean; ttl?: number } = {},
): NamePacket {
  const { group = false, ttl = 300, ...fields } = more;
  const entries = [{ group, node: "H", address }] as const;
  const additional: ResourceRecord[] = [
    { name: of, type: RR_TYPE.nb, ttl, data: { kind: "addresses", entries } },
  ];
  const questions = [{ name: of, type: RR_TYPE.nb }];
  return namePacket({
    id: 2,
    opcode: OPCODE.registration,
    recursionDesired: true,
    questions,
    additional,
    ...fields,
  });
}

function addresses(packet: NamePacket): string[] {
  return packet.answers.flatMap(({ data }) =>
    data.kind === "addresses" ? data.entries.map(({ address }) => address) : [],
  );
}

test("its answers to nmblookup's captured questions are those Samba takes", () => {
  const machine = server();
  const bytesOf = (what: string): Buffer =>
    Buffer.from(NAME_PACKETS.find((one) => one.what.startsWith(what))?.hex ?? "", "hex");
  const question = decodeNamePacket(bytesOf("Name query NB FILESRV<20>"));
  assert.ok(!isFault(question));
  const answer = sent(
    machine.handle({ type: "packet", packet: question, from: { address: "10.77.0.1", port: 40_000 } }, START),
  );
  const captured = decodeNamePacket(bytesOf("Name query response NB 10.77.0.2"));
  assert.ok(!isFault(captured));
  assert.equal(answer.id, captured.id);
  assert.deepEqual(addresses(answer), addresses(captured));
  const flagsAt = encodeNamePacket(answer).readUInt16BE(2);
  assert.equal(flagsAt, bytesOf("Name query response NB 10.77.0.2").readUInt16BE(2));
});

test("RFC 1002 §4.2.14: a name that nobody has is denied to who asks us, and not answered to who asks everybody", () => {
  const machine = server();
  const [reply, note] = ask(machine, query(name("NOSUCH")));
  assert.ok(
    reply?.type === "send" &&
      reply.packet.rcode === RCODE.name &&
      reply.packet.answers[0]?.type === RR_TYPE.null,
  );
  assert.ok(note?.type === "note" && note.what === "unknown");
  assert.deepEqual(
    ask(machine, query(name("NOSUCH"), { broadcast: true })).map(({ type }) => type),
    ["note"],
  );
  assert.deepEqual(addresses(sent(ask(machine, query(name("FILESRV"), { broadcast: true })))), [GATEWAY]);
});

test("RFC 1002 §4.2.18: a node status lists our names, for * and for one of them only", () => {
  const machine = server();
  const status = (of: NetbiosName): NamePacket =>
    namePacket({ id: 3, opcode: OPCODE.query, questions: [{ name: of, type: RR_TYPE.nbstat }] });
  for (const of of [name("*", 0), name("FILESRV")]) {
    const data = sent(ask(machine, status(of))).answers[0]?.data;
    assert.ok(data?.kind === "status");
    assert.deepEqual(
      data.names.map((one) => [one.name, one.suffix, one.active]),
      [
        ["FILESRV", 0x20, true],
        ["FILESRV", 0, true],
      ],
    );
    assert.equal(data.unitId, "02:00:00:00:00:01");
  }
  assert.deepEqual(ask(machine, status(name("OTHER"))), []);
});

test("RFC 1002 §4.2.5: a name can be registered, asked for, refreshed, released, and expires", () => {
  const machine = server();
  const winsbox = name("WINSBOX");
  const granted = sent(ask(machine, claim(winsbox, "10.77.0.1")));
  assert.equal(granted.rcode, RCODE.ok);
  assert.equal(granted.opcode, OPCODE.registration);
  assert.equal(granted.answers[0]?.ttl, 300);
  assert.deepEqual(addresses(sent(ask(machine, query(winsbox), "10.77.0.9"))), ["10.77.0.1"]);
  // Half-way through it is refreshed, and so outlives its first term.
  sent(ask(machine, claim(winsbox, "10.77.0.1", { opcode: OPCODE.refresh }), "10.77.0.1", START + 150_000));
  assert.equal(sent(ask(machine, query(winsbox), "10.77.0.9", START + 400_000)).rcode, RCODE.ok);
  assert.equal(
    sent(ask(machine, query(winsbox), "10.77.0.9", START + 450_000).slice(0, 1)).rcode,
    RCODE.name,
  );
  assert.equal(machine.registered.size, 0);
  ask(machine, claim(winsbox, "10.77.0.1"));
  assert.equal(sent(ask(machine, claim(winsbox, "10.77.0.1", { opcode: OPCODE.release }))).rcode, RCODE.ok);
  assert.equal(sent(ask(machine, query(winsbox)).slice(0, 1)).rcode, RCODE.name);
});

test("nobody registers a name without end, nor our own, nor one for somebody else", () => {
  const machine = server();
  assert.equal(sent(ask(machine, claim(name("A"), "10.77.0.1", { ttl: 0 }))).answers[0]?.ttl, 3_600);
  assert.equal(sent(ask(machine, claim(name("B"), "10.77.0.1", { ttl: 999_999 }))).answers[0]?.ttl, 3_600);
  assert.equal(sent(ask(machine, claim(name("FILESRV"), "10.77.0.1"))).rcode, RCODE.active);
  assert.equal(
    sent(ask(machine, claim(name("FILESRV"), "10.77.0.1", { opcode: OPCODE.release }))).rcode,
    RCODE.active,
  );
  assert.equal(sent(ask(machine, claim(name("C"), "10.77.0.66"))).rcode, RCODE.refused);
  assert.equal(
    sent(ask(machine, claim(name("A"), "10.77.0.1", { opcode: OPCODE.release }), "10.77.0.66")).rcode,
    RCODE.active,
  );
  assert.equal(sent(ask(server({ register: "none" }), claim(name("A"), "10.77.0.1"))).rcode, RCODE.refused);
  assert.equal(
    sent(ask(server({ register: "any-address" }), claim(name("C"), "10.77.0.66"))).rcode,
    RCODE.ok,
  );
  assert.equal(sent(ask(machine, { ...claim(name("D"), "10.77.0.1"), additional: [] })).rcode, RCODE.format);
});

test("RFC 1002 §5.1.1.5: a claim to everybody for our name is contested, for another's it is not ours to answer", () => {
  const machine = server();
  const contested = ask(machine, claim(name("FILESRV"), "10.77.0.1", { broadcast: true }));
  assert.equal(sent(contested).rcode, RCODE.active);
  assert.deepEqual(ask(machine, claim(name("OTHER"), "10.77.0.1", { broadcast: true })), []);
  assert.deepEqual(ask(machine, claim(name("FILESRV"), GATEWAY, { broadcast: true }), GATEWAY), []);
  assert.equal(machine.registered.size, 0);
});

test("a group takes all who come, a unique name does not become one", () => {
  const machine = server();
  const group = name("LABGRP", 0);
  ask(machine, claim(group, "10.77.0.1", { group: true }));
  ask(machine, claim(group, "10.77.0.3", { group: true }), "10.77.0.3");
  assert.deepEqual(addresses(sent(ask(machine, query(group)))), ["10.77.0.1", "10.77.0.3"]);
  assert.equal(sent(ask(machine, claim(group, "10.77.0.4"), "10.77.0.4")).rcode, RCODE.active);
});

test("RFC 1002 §5.1.4.1: a name that somebody has is given away only when they do not want it any more", () => {
  const taken = name("WINSBOX");
  const newcomer = claim(taken, "10.77.0.5", { id: 77 });
  const begin = (): { machine: NameServer; question: NamePacket } => {
    const machine = server();
    ask(machine, claim(taken, "10.77.0.1"));
    const actions = ask(machine, newcomer, "10.77.0.5");
    const [wait, question] = actions.flatMap((action) => (action.type === "send" ? [action] : []));
    assert.ok(
      wait?.packet.opcode === OPCODE.wack && wait.packet.id === 77 && wait.to.address === "10.77.0.5",
    );
    assert.ok(question?.packet.opcode === OPCODE.query && question.to.address === "10.77.0.1");
    // A repeated request is told to wait again, and the owner is not asked twice for it.
    assert.equal(sent(ask(machine, newcomer, "10.77.0.5")).opcode, OPCODE.wack);
    return { machine, question: question.packet };
  };
  const reply = (question: NamePacket, has: readonly string[]): NamePacket => {
    const entries = has.map((address) => ({ group: false, node: "H", address }) as const);
    const answers: ResourceRecord[] = [
      { name: taken, type: RR_TYPE.nb, ttl: 1, data: { kind: "addresses", entries } },
    ];
    return namePacket({
      id: question.id,
      opcode: OPCODE.query,
      response: true,
      rcode: has.length > 0 ? 0 : RCODE.name,
      answers,
    });
  };

  const kept = begin();
  assert.deepEqual(
    ask(kept.machine, reply(kept.question, ["10.77.0.1"]), "10.77.0.66"),
    [],
    "a stranger's answer",
  );
  const denied = sent(ask(kept.machine, reply(kept.question, ["10.77.0.1"])));
  assert.ok(denied.rcode === RCODE.active && denied.id === 77);

  const given = begin();
  assert.equal(sent(ask(given.machine, reply(given.question, []))).rcode, RCODE.ok);
  assert.deepEqual(addresses(sent(ask(given.machine, query(taken)))), ["10.77.0.5"]);

  const silent = begin();
  let now = START;
  const asked: NameServerAction[] = [];
  while (silent.machine.tickAt !== undefined) {
    now = silent.machine.tickAt;
    asked.push(...silent.machine.handle({ type: "tick" }, now));
  }
  const sends = asked.flatMap((action) => (action.type === "send" ? [action] : []));
  assert.deepEqual(
    sends.map(({ to }) => to.address),
    ["10.77.0.1", "10.77.0.1", "10.77.0.5"],
  );
  assert.equal(sends.at(-1)?.packet.rcode, RCODE.ok);
  assert.equal(now, START + 1_500);
});

test("a host with several addresses registers each, and owns them together", () => {
  const machine = server();
  const multi = { opcode: OPCODE.multihomed };
  ask(machine, claim(name("M"), "10.77.0.1", multi));
  const actions = ask(machine, claim(name("M"), "10.78.0.1", multi), "10.78.0.1");
  const question = actions.find((action) => action.type === "send" && action.packet.opcode === OPCODE.query);
  assert.ok(question?.type === "send");
  const entries = ["10.77.0.1", "10.78.0.1"].map(
    (address) => ({ group: false, node: "H", address }) as const,
  );
  const answers: ResourceRecord[] = [
    { name: name("M"), type: RR_TYPE.nb, ttl: 1, data: { kind: "addresses", entries } },
  ];
  const answer = namePacket({ id: question.packet.id, opcode: OPCODE.query, response: true, answers });
  assert.equal(sent(ask(machine, answer)).rcode, RCODE.ok);
  assert.deepEqual(addresses(sent(ask(machine, query(name("M"))))), ["10.77.0.1", "10.78.0.1"]);
});

test("what an address may register and ask is bounded", () => {
  const machine = server({ maxNamesPerAddress: 3, maxNames: 5 });
  const codes = (address: string): number[] =>
    Array.from(
      { length: 4 },
      (_, index) => sent(ask(machine, claim(name(`N${address.at(-1)}${index}`), address), address)).rcode,
    );
  assert.deepEqual(codes("10.77.0.1"), [0, 0, 0, RCODE.server]);
  assert.deepEqual(codes("10.77.0.3"), [0, 0, RCODE.server, RCODE.server]);
  const slow = server({ requestsPerSecond: 5 });
  const answered = (now: number): number =>
    Array.from({ length: 10 }, () => ask(slow, query(name("FILESRV")), "10.77.0.1", now)).filter(
      ([first]) => first?.type === "send",
    ).length;
  assert.equal(answered(START), 5);
  assert.equal(answered(START + 400), 2);
  assert.equal(ask(slow, query(name("FILESRV")), "10.77.0.9", START)[0]?.type, "send");
});

test("what makes no sense is not answered", () => {
  const machine = server();
  assert.deepEqual(ask(machine, namePacket({ id: 1, opcode: OPCODE.query })), []);
  assert.deepEqual(ask(machine, query(name("FILESRV"), { response: true })), []);
  assert.deepEqual(ask(machine, query(name("FILESRV"), { opcode: 12 })), []);
  assert.equal(
    sent(ask(machine, query(name("FILESRV"), { questions: [{ name: name("FILESRV"), type: RR_TYPE.a }] })))
      .rcode,
    RCODE.unsupported,
  );
});

test("RFC 1002 §4.2.16: a request is repeated, waits when told to, and gives up", () => {
  const packet = query(name("X"), { id: 9 });
  const request = new NameRequest({ packet, attempts: 3, retryMs: 100 });
  assert.deepEqual(request.start(0), [{ type: "send", packet }]);
  assert.deepEqual(request.handle({ type: "tick" }, 99), []);
  assert.equal(request.handle({ type: "tick" }, 100)[0]?.type, "send");
  const wack = namePacket({
    id: 9,
    opcode: OPCODE.wack,
    response: true,
    answers: [{ name: name("X"), type: RR_TYPE.nb, ttl: 5, data: { kind: "bytes", bytes: Buffer.alloc(2) } }],
  });
  request.handle({ type: "packet", packet: wack }, 150);
  assert.equal(request.tickAt, 5_250);
  assert.deepEqual(
    request.handle({ type: "packet", packet: { ...packet, id: 8, response: true } }, 200),
    [],
    "another's answer",
  );
  assert.deepEqual(request.handle({ type: "packet", packet }, 200), [], "a question is no answer");
  assert.equal(request.handle({ type: "tick" }, 5_250)[0]?.type, "send");
  assert.deepEqual(request.handle({ type: "tick" }, 5_350), [{ type: "no-answer" }]);
  assert.equal(request.tickAt, undefined);
});

test("RFC 1002 §4.2.15: a request follows a redirect to the address it names", () => {
  const request = new NameRequest({ packet: query(name("X"), { id: 9 }), attempts: 3, retryMs: 100 });
  request.start(0);
  const redirect = namePacket({
    id: 9,
    opcode: OPCODE.query,
    response: true,
    authority: [{ name: "corp", type: RR_TYPE.ns, ttl: 0, data: { kind: "name-server", name: "ns.corp" } }],
    additional: [{ name: "ns.corp", type: RR_TYPE.a, ttl: 0, data: { kind: "ip", address: "10.0.0.9" } }],
  });
  assert.deepEqual(request.handle({ type: "packet", packet: redirect }, 1), [
    { type: "redirect", address: "10.0.0.9" },
  ]);
});
