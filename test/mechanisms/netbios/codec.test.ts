import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NetbiosName } from "../../../src/mechanisms/netbios/codec/name.ts";
import { formatName, parseName, readName, writeName } from "../../../src/mechanisms/netbios/codec/name.ts";
import {
  decodeNamePacket,
  encodeNamePacket,
  namePacket,
  OPCODE,
  RR_TYPE,
} from "../../../src/mechanisms/netbios/codec/name-service.ts";
import {
  decodeSessionPacket,
  encodeSessionPacket,
  negativeText,
  readHeader,
} from "../../../src/mechanisms/netbios/codec/session.ts";
import { fault, isFault, Reader, Writer } from "../../../src/wire/index.ts";
import { NAME_PACKETS, SESSION_PACKETS } from "../../vectors/netbios.ts";

const file = (name: string, suffix = 0x20, scope = ""): NetbiosName => ({ name, suffix, scope });

function written(name: NetbiosName): Buffer {
  const writer = new Writer();
  writeName(writer, name);
  return writer.finish();
}

test("what Samba puts on the wire decodes, and encodes to the same bytes", () => {
  for (const { what, hex } of SESSION_PACKETS) {
    const bytes = Buffer.from(hex, "hex");
    const decoded = decodeSessionPacket(bytes, 17, 0);
    assert.ok(decoded !== undefined && !isFault(decoded), what);
    assert.equal(decoded.size, bytes.length, what);
    assert.equal(encodeSessionPacket(decoded.message).toString("hex"), hex, what);
  }
  for (const { what, hex } of NAME_PACKETS) {
    const decoded = decodeNamePacket(Buffer.from(hex, "hex"));
    assert.ok(!isFault(decoded), what);
    // The statistics behind a node's names are not kept; Samba sends zeros.
    assert.equal(encodeNamePacket(decoded).toString("hex"), hex, what);
  }
});

test("a captured session request names who calls and who is called", () => {
  const decoded = decodeSessionPacket(Buffer.from(SESSION_PACKETS[0]?.hex ?? "", "hex"), 17, 0);
  assert.ok(decoded !== undefined && !isFault(decoded) && decoded.message.type === "session-request");
  assert.equal(formatName(decoded.message.called), "NOSUCH<20>");
  assert.equal(formatName(decoded.message.calling), "MYCLIENT<00>");
});

test("a captured registration says whose name it is, for how long, and what kind of node asks", () => {
  const captured = NAME_PACKETS.find(({ what }) =>
    what.startsWith("Multi-homed registration NB WINSBOX<20>"),
  );
  const packet = decodeNamePacket(Buffer.from(captured?.hex ?? "", "hex"));
  assert.ok(!isFault(packet));
  assert.equal(packet.opcode, OPCODE.multihomed);
  assert.deepEqual(packet.additional[0]?.name, file("WINSBOX"));
  assert.equal(packet.additional[0]?.ttl, 259_200);
  assert.deepEqual(packet.additional[0]?.data, {
    kind: "addresses",
    entries: [{ group: false, node: "H", address: "10.77.0.1" }],
  });
});

test("RFC 1001 §14.1: the two levels of a name's encoding", () => {
  // The example of RFC 1001 §14.1, in the scope SCOPE.ID.COM.
  const encoded = written(file("FRED", 0x20, "SCOPE.ID.COM"));
  assert.equal(encoded.subarray(1, 33).toString("latin1"), "EGFCEFEECACACACACACACACACACACACA");
  assert.equal(encoded.subarray(33).toString("latin1"), "\x05SCOPE\x02ID\x03COM\0");
  assert.deepEqual(readName(new Reader(encoded), false), file("FRED", 0x20, "SCOPE.ID.COM"));
  // RFC 1001 §17.1.4: the wildcard is padded with NUL.
  assert.equal(written(file("*", 0)).toString("latin1"), `\x20CK${"A".repeat(30)}\0`);
  assert.deepEqual(readName(new Reader(written(file("*", 0))), false), file("*", 0));
});

test("names: every one that can be written is read back", () => {
  const name = fc
    .array(fc.integer({ min: 0x21, max: 0xff }), { minLength: 1, maxLength: 15 })
    .map((codes) => String.fromCharCode(...codes))
    .filter((text) => text !== "*");
  const label = fc.stringMatching(/^[a-zA-Z0-9-]{1,20}$/u);
  const scope = fc.array(label, { maxLength: 4 }).map((labels) => labels.join("."));
  fc.assert(
    fc.property(name, fc.integer({ min: 0, max: 255 }), scope, (text, suffix, within) => {
      const encoded = written(file(text, suffix, within));
      const reader = new Reader(Buffer.concat([encoded, Buffer.from([1, 2, 3])]));
      assert.deepEqual(readName(reader, false), file(text, suffix, within));
      assert.equal(reader.at, encoded.length);
    }),
  );
});

test("names: as people write them", () => {
  assert.deepEqual(parseName("filesrv"), file("FILESRV"));
  assert.deepEqual(parseName("FileSrv<1b>"), file("FILESRV", 0x1b));
  assert.deepEqual(parseName("FILESRV<20>.corp.example"), file("FILESRV", 0x20, "corp.example"));
  assert.deepEqual(parseName("*SMBSERVER"), file("*SMBSERVER"));
  assert.deepEqual(parseName("client", 0), file("CLIENT", 0));
  for (const wrong of [
    "",
    "SIXTEENLETTERSXX",
    "A<2>",
    "A<zz>",
    "A<20>.",
    "A<20>.a..b",
    "名前",
    "A<20>x",
    `A<20>.${"x".repeat(64)}`,
  ]) {
    assert.equal(parseName(wrong), undefined, wrong);
  }
  assert.equal(formatName(file("EVIL\x1b[2J", 0x20, "a\nb")), "EVIL\\x1b[2J<20>.a\\x0ab");
});

test("names that break the format are a fault, wherever they break it", () => {
  const good = written(file("FILESRV", 0x20, "corp"));
  for (let cut = 0; cut < good.length; cut++) {
    assert.ok(isFault(readName(new Reader(good.subarray(0, cut)), false)), `cut at ${cut}`);
  }
  const broken: readonly [string, Buffer][] = [
    ["a letter outside A to P", Buffer.from(good).fill(0x51, 5, 6)],
    ["a first label of 31", Buffer.from([31, ...Buffer.alloc(31, 0x41), 0])],
    ["reserved label bits", Buffer.from([0x40, ...Buffer.alloc(64, 0x41), 0])],
    ["a pointer where none may be", Buffer.from([0xc0, 0x00])],
    [
      "over 255 bytes",
      Buffer.concat([
        good.subarray(0, 33),
        ...Array.from({ length: 4 }, () => Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 0x41)])),
        Buffer.from([0]),
      ]),
    ],
    ["a dot within a label", Buffer.concat([good.subarray(0, 33), Buffer.from([3, 0x61, 0x2e, 0x62, 0])])],
  ];
  for (const [what, bytes] of broken) assert.ok(isFault(readName(new Reader(bytes), false)), what);
});

test("RFC 1002 §4.1: label string pointers go backwards only, so that none can loop", () => {
  const name = written(file("FILESRV"));
  const bytes = Buffer.concat([name, Buffer.from([0xc0, 0x00]), Buffer.from([0xc0, name.length + 2])]);
  assert.deepEqual(readName(new Reader(bytes, name.length), true), file("FILESRV"));
  assert.ok(isFault(readName(new Reader(bytes, name.length + 2), true)), "to itself");
  const forward = Buffer.concat([Buffer.from([0xc0, 0x02]), name]);
  assert.ok(isFault(readName(new Reader(forward), true)), "forward");
  assert.ok(isFault(readName(new Reader(Buffer.from([0xc0]), 0), true)), "cut off");
});

test("RFC 1002 §4.3.1: lengths have 17 bits to the letter, 24 where asked for", () => {
  const header = (hex: string): Buffer => Buffer.from(hex, "hex");
  assert.deepEqual(readHeader(header("0001ffff"), 0, 17), { type: 0, length: 131_071 });
  assert.deepEqual(readHeader(header("00020000"), 0, 24), { type: 0, length: 131_072 });
  assert.equal(faultOf(readHeader(header("00020000"), 0, 17)), "too-large");
  assert.deepEqual(readHeader(header("00800090"), 0, 24), { type: 0, length: 8_388_752 });
  assert.equal(faultOf(readHeader(header("85000001"), 0, 24)), "too-large");
  assert.equal(faultOf(readHeader(header("83000000"), 0, 24)), "malformed");
  assert.equal(faultOf(readHeader(header("81000043"), 0, 24)), "malformed");
  assert.equal(faultOf(readHeader(header("86000000"), 0, 24)), "malformed");
  const long = decodeSessionPacket(header("00000401"), 24, 1024);
  assert.equal(faultOf(long), "too-large");
});

test("a request with anything behind its names is malformed", () => {
  const request = encodeSessionPacket({ type: "session-request", called: file("A"), calling: file("B", 0) });
  const longer = Buffer.concat([request, Buffer.from([0])]);
  longer.writeUIntBE(69, 1, 3);
  assert.equal(faultOf(decodeSessionPacket(longer, 24, 0)), "malformed");
});

test("refusals have words, listed or not", () => {
  assert.equal(negativeText(0x82), "called name not present");
  assert.equal(negativeText(0x90), "unlisted error 0x90");
});

test("name packets: every truncation of every captured one is a fault", () => {
  for (const { what, hex } of NAME_PACKETS) {
    const bytes = Buffer.from(hex, "hex");
    for (let cut = 0; cut < bytes.length; cut++) {
      // The 40 bytes of statistics behind a unit's id may be left out, and are by some, if the length says so.
      assert.ok(isFault(decodeNamePacket(bytes.subarray(0, cut))), `${what} cut at ${cut}`);
    }
  }
});

test("name packets: a redirect, a wait and a status survive the wire", () => {
  const server = {
    name: "ns.corp",
    type: RR_TYPE.ns,
    ttl: 9,
    data: { kind: "name-server", name: "nbns.corp" },
  } as const;
  const at = {
    name: "nbns.corp",
    type: RR_TYPE.a,
    ttl: 9,
    data: { kind: "ip", address: "10.0.0.9" },
  } as const;
  const redirect = namePacket({
    id: 7,
    opcode: OPCODE.query,
    response: true,
    authority: [server],
    additional: [at],
  });
  assert.deepEqual(decodeNamePacket(encodeNamePacket(redirect)), redirect);
  const wait = namePacket({
    id: 8,
    opcode: OPCODE.wack,
    response: true,
    authoritative: true,
    answers: [
      { name: file("X"), type: RR_TYPE.nb, ttl: 5, data: { kind: "bytes", bytes: Buffer.from([0x29, 0]) } },
    ],
  });
  assert.deepEqual(decodeNamePacket(encodeNamePacket(wait)), wait);
  assert.equal(faultOf(decodeNamePacket(Buffer.alloc(5000))), "too-large");
});

function faultOf(value: unknown): string | undefined {
  return isFault(value) ? value.fault : undefined;
}

test("a fault says where", () => {
  assert.deepEqual(
    readHeader(Buffer.from("ff000000", "hex"), 0, 24),
    fault("malformed", 0, "no session packet has type 0xff"),
  );
});
