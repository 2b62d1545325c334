import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  formatAddress,
  inRange,
  parseAddress,
  parseRange,
  plainAddress,
} from "../../../src/mechanisms/socks/address.ts";
import * as codec from "../../../src/mechanisms/socks/codec.ts";
import { decodeConnectResponse, encodeConnectRequest } from "../../../src/mechanisms/socks/http-connect.ts";
import type { Decoded } from "../../../src/wire/index.ts";
import { isFault } from "../../../src/wire/index.ts";
import { BAD_REQUESTS, SOCKS4_EXCHANGES, SOCKS5_EXCHANGES } from "../../vectors/socks.ts";

/** Decodes all of `bytes`, and makes sure that nothing less than all of it is enough, and nothing more disturbs it. */
function whole<T>(decode: (bytes: Buffer) => Decoded<T>, bytes: Buffer): T {
  for (let cut = 1; cut < bytes.length; cut++) {
    assert.equal(decode(bytes.subarray(0, cut)), undefined, `cut at ${cut} of ${bytes.length}`);
  }
  const decoded = decode(Buffer.concat([bytes, Buffer.from("behind")]));
  if (decoded === undefined || isFault(decoded)) assert.fail(`not decoded: ${JSON.stringify(decoded)}`);
  assert.equal(decoded.size, bytes.length);
  return decoded.message;
}

function faultOf<T>(decoded: Decoded<T>): string {
  if (decoded === undefined || !isFault(decoded)) assert.fail(`no fault: ${JSON.stringify(decoded)}`);
  return `${decoded.fault} at ${decoded.at}`;
}

const hex = (text: string): Buffer => Buffer.from(text, "hex");

describe("recorded SOCKS5 exchanges", () => {
  for (const { what, client, server } of SOCKS5_EXCHANGES) {
    it(`${what}: read at every cut, and written the same`, () => {
      const [greeting = "", request] = client.map(hex);
      const [choice = "", ...replies] = server.map(hex);
      const { methods } = whole(codec.decodeGreeting, Buffer.from(greeting));
      assert.deepEqual(codec.encodeGreeting(methods), greeting);
      assert.deepEqual(codec.encodeChoice(whole(codec.decodeChoice, Buffer.from(choice))), choice);
      if (request !== undefined) {
        const { command, destination, version } = whole(codec.decodeRequest, request);
        assert.equal(version, 5);
        const written = codec.encodeRequest(command, destination);
        const again = whole(codec.decodeRequest, written ?? Buffer.alloc(0));
        assert.deepEqual(again.destination, destination);
        if (request[2] === 0 && !/^\d/.test(destination.host)) assert.deepEqual(written, request);
      }
      for (const bytes of replies) {
        const { reply, bound } = whole(codec.decodeReply, bytes);
        const name = reply === 0 ? "succeeded" : codec.FAILURES[reply];
        assert.ok(name !== undefined);
        assert.deepEqual(codec.encodeReply(name, bound), bytes);
      }
    });
  }
});

describe("recorded SOCKS4 exchanges", () => {
  for (const { what, client, server } of SOCKS4_EXCHANGES) {
    it(`${what}: read at every cut, and written the same`, () => {
      const [request = Buffer.alloc(0)] = client.map(hex);
      const { command, destination, userId, version } = whole(codec.decodeRequest4, request);
      assert.equal(version, 4);
      assert.ok(command !== "associate" && userId !== undefined);
      assert.deepEqual(codec.encodeRequest4(command, destination, userId), request);
      for (const bytes of server.map(hex)) {
        const { reply, bound } = whole(codec.decodeReply4, bytes);
        const name = reply === codec.REPLY4.granted ? "granted" : "rejected";
        assert.deepEqual(codec.encodeReply4(name, bound), bytes);
      }
    });
  }
});

describe("requests", () => {
  it("RFC 1928 §4: every address type is read at every cut and written the same", () => {
    const bytes = [
      "05010001c0000201ffff",
      "05020004000102030405060708090a0b0c0d0e0f0000",
      "0503000420010db80000000000000000000000010035",
      `0501 0003 ff ${"61".repeat(255)} 0001`.replaceAll(" ", ""),
      "0501000302c3bc0050",
    ];
    for (const text of bytes) {
      const { command, destination } = whole(codec.decodeRequest, hex(text));
      assert.equal(codec.encodeRequest(command, destination)?.toString("hex"), text);
    }
  });

  it("are faulty where the fault is, and only once it is certain", () => {
    assert.equal(faultOf(codec.decodeGreeting(hex(BAD_REQUESTS.version))), "unsupported at 0");
    assert.equal(faultOf(codec.decodeRequest(hex(BAD_REQUESTS.command))), "unsupported at 1");
    assert.equal(faultOf(codec.decodeRequest(hex(BAD_REQUESTS.addressType))), "unsupported at 3");
    assert.equal(faultOf(codec.decodeRequest(hex(BAD_REQUESTS.emptyName))), "malformed at 5");
    assert.equal(faultOf(codec.decodeRequest(hex(BAD_REQUESTS.nulInName))), "malformed at 5");
    assert.equal(faultOf(codec.decodeRequest(hex("0401"))), "malformed at 0");
    assert.equal(faultOf(codec.decodePassword(hex("05"))), "unsupported at 0");
    assert.equal(faultOf(codec.decodeRequest4(hex("04030050c000020100"))), "unsupported at 1");
    assert.equal(
      codec.decodeRequest(hex(BAD_REQUESTS.command).subarray(0, 9)),
      undefined,
      "the rest is read first",
    );
  });

  it("a SOCKS4 user ID or name that never ends is cut off after 255 bytes", () => {
    const head = hex("04010050c0000201");
    assert.equal(codec.decodeRequest4(Buffer.concat([head, Buffer.alloc(255, 0x61)])), undefined);
    assert.equal(
      faultOf(codec.decodeRequest4(Buffer.concat([head, Buffer.alloc(256, 0x61)]))),
      "too-large at 263",
    );
    const named = Buffer.concat([hex("0401005000000001"), Buffer.from([0]), Buffer.alloc(300, 0x61)]);
    assert.equal(faultOf(codec.decodeRequest4(named)), "too-large at 264");
  });

  it("what a form has no room for is not written", () => {
    assert.equal(codec.encodeRequest("connect", { host: "a".repeat(256), port: 1 }), undefined);
    assert.equal(codec.encodeRequest("connect", { host: "a", port: 65_536 }), undefined);
    assert.equal(codec.encodeRequest("connect", { host: "", port: 1 }), undefined);
    assert.equal(codec.encodeRequest4("connect", { host: "::1", port: 1 }, ""), undefined);
    assert.equal(codec.encodeRequest4("connect", { host: "a\0b", port: 1 }, ""), undefined);
    assert.equal(codec.encodeRequest4("connect", { host: "a", port: 1 }, "u\0"), undefined);
  });
});

describe("RFC 1929 §2: user and password", () => {
  it("are read at every cut and written the same", () => {
    for (const [username, password] of [
      ["user", "secret"],
      ["ü", "a".repeat(255)],
    ] as const) {
      const bytes = codec.encodePassword({ username, password });
      assert.deepEqual(whole(codec.decodePassword, bytes ?? Buffer.alloc(0)), { username, password });
    }
    assert.equal(codec.encodePassword({ username: "", password: "x" }), undefined);
    assert.equal(codec.encodePassword({ username: "x", password: "a".repeat(256) }), undefined);
    assert.equal(whole(codec.decodePasswordStatus, codec.encodePasswordStatus(true)), true);
    assert.equal(whole(codec.decodePasswordStatus, codec.encodePasswordStatus(false)), false);
    assert.equal(
      whole(codec.decodePasswordStatus, hex("05ff")),
      false,
      "a server that repeats 5 is understood",
    );
  });
});

describe("RFC 1928 §7: datagrams", () => {
  it("carry their endpoint and payload, whatever the address type", () => {
    for (const host of ["192.0.2.1", "2001:db8::1", "example.com"]) {
      const bytes = codec.encodeDatagram({ host, port: 53 }, Buffer.from("question"));
      const datagram = codec.decodeDatagram(bytes ?? Buffer.alloc(0));
      assert.ok(!isFault(datagram));
      assert.deepEqual(datagram.endpoint, { host, port: 53 });
      assert.equal(datagram.payload.toString(), "question");
      assert.equal(datagram.fragment, 0);
      const headerBytes = (bytes?.length ?? 0) - "question".length;
      for (let cut = 0; cut < headerBytes; cut++) {
        assert.ok(isFault(codec.decodeDatagram(bytes?.subarray(0, cut) ?? Buffer.alloc(0))), `cut at ${cut}`);
      }
    }
    assert.ok(isFault(codec.decodeDatagram(hex("0001000100000000000041"))), "RSV must be zero");
  });
});

describe("HTTP CONNECT", () => {
  it("asks for an authority, and tells the user only when there is one", () => {
    const plain = encodeConnectRequest({ host: "::1", port: 443 })?.toString();
    assert.equal(plain, "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n");
    const known = encodeConnectRequest(
      { host: "a.b", port: 1 },
      { username: "u", password: "p:w" },
    )?.toString();
    assert.match(known ?? "", /\r\nProxy-Authorization: Basic dTpwOnc=\r\n\r\n$/);
    assert.equal(encodeConnectRequest({ host: "a b", port: 1 }), undefined);
    assert.equal(encodeConnectRequest({ host: "a\r\nEvil: 1", port: 1 }), undefined);
    assert.equal(encodeConnectRequest({ host: "a", port: 1 }, { username: "u:x", password: "" }), undefined);
  });

  it("reads the head of the response at every cut and leaves what is behind it", () => {
    const head = Buffer.from("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
    assert.deepEqual(whole(decodeConnectResponse, head), { status: 200, reason: "Connection established" });
    assert.deepEqual(whole(decodeConnectResponse, Buffer.from("HTTP/1.0 407\r\n\r\n")), {
      status: 407,
      reason: "",
    });
    assert.equal(faultOf(decodeConnectResponse(Buffer.from("SSH-2.0-x"))), "malformed at 0");
    assert.equal(faultOf(decodeConnectResponse(Buffer.from("HTTP/2 200\r\n\r\n"))), "malformed at 0");
    const endless = Buffer.from(`HTTP/1.1 200 OK\r\n${"x".repeat(17_000)}`);
    assert.equal(faultOf(decodeConnectResponse(endless)), "too-large at 16384");
  });
});

describe("addresses", () => {
  it("are read and written in the shortest form of RFC 5952", () => {
    for (const [text, canonical] of [
      ["0.0.0.0", "0.0.0.0"],
      ["255.255.255.255", "255.255.255.255"],
      ["::", "::"],
      ["::1", "::1"],
      ["1::", "1::"],
      ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
      ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
      ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
      ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
      ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ] as const) {
      const bytes = parseAddress(text);
      assert.ok(bytes !== undefined, text);
      assert.equal(formatAddress(bytes), canonical);
      assert.deepEqual(parseAddress(canonical), bytes);
    }
  });

  it("what only some systems take for an address is a name", () => {
    for (const text of [
      "127.1",
      "0177.0.0.1",
      "01.2.3.4",
      "2130706433",
      "0x7f.0.0.1",
      "1.2.3.4.5",
      "1.2.3.256",
      "1.2.3.",
      "1..2.3",
      " 1.2.3.4",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7:8::",
      "::1.2.3.4:5",
      "g::",
      "12345::",
      "",
    ]) {
      assert.equal(parseAddress(text), undefined, text);
    }
  });

  it("an IPv4 address in IPv6 clothes is that IPv4 address, and a zone is cut off", () => {
    assert.equal(plainAddress("::ffff:127.0.0.1"), "127.0.0.1");
    assert.equal(plainAddress("fe80::1%eth0"), "fe80::1");
    assert.equal(plainAddress("name"), "name");
  });

  it("ranges end at any bit", () => {
    const within = (address: string, range: string): boolean => {
      const [bytes, parsed] = [parseAddress(address), parseRange(range)];
      assert.ok(bytes !== undefined && parsed !== undefined);
      return inRange(bytes, parsed);
    };
    assert.ok(within("172.31.255.255", "172.16.0.0/12"));
    assert.ok(!within("172.32.0.0", "172.16.0.0/12"));
    assert.ok(within("10.0.0.1", "10.0.0.1"));
    assert.ok(within("8.8.8.8", "0.0.0.0/0"));
    assert.ok(!within("::1", "0.0.0.0/0"), "one family's range is not the other's");
    assert.ok(within("fdff::", "fc00::/7"));
    for (const text of ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10/8", "x/8", "::/129"]) {
      assert.equal(parseRange(text), undefined, text);
    }
  });
});
