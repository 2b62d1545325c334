import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import type { AddressInfo } from "node:net";
import { before, test } from "node:test";
import tls from "node:tls";
import { decodeClientHello } from "../../../src/mechanisms/tls/codec/client-hello.ts";
import type { ClientHello } from "../../../src/mechanisms/tls/codec/client-hello.ts";
import { decodeSessionState } from "../../../src/mechanisms/tls/codec/session-state.ts";
import {
  hourOf,
  isAuthentic,
  openTag,
  sealTag,
  ticketParts,
} from "../../../src/mechanisms/tls/codec/ticket.ts";
import { deriveKeys, epochOf, nextRoot } from "../../../src/mechanisms/tls/schedule.ts";
import { mintHandle } from "../../../src/kernel/index.ts";
import { isFault } from "../../../src/wire/index.ts";

const LIMIT = 32_768;
const seed = randomBytes(4).readUInt32BE();
let hello: Buffer;

before(async () => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = tls.connect({
    port: (server.address() as AddressInfo).port,
    host: "127.0.0.1",
    servername: "Shop.Example",
  });
  client.on("error", () => {});
  const [socket] = (await once(server, "connection")) as [net.Socket];
  [hello] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
});

test("a real ClientHello is read: name, versions, what it resumes with", () => {
  const read = decoded(hello);
  assert.equal(read.serverName, "shop.example");
  assert.equal(read.sessionId.length, 32);
  assert.deepEqual([read.offersTls13, read.resumesTls13], [true, true]);
  assert.equal(read.ticket?.length, 0);
  assert.deepEqual(read.identities, []);
});

test("cut short anywhere it is incomplete, and in records of any size it is the same", () => {
  for (let length = 0; length < hello.length; length++)
    assert.equal(decodeClientHello(hello.subarray(0, length), LIMIT), "incomplete", `${length}`);
  const message = hello.subarray(5);
  for (const size of [1, 2, 3, 5, 100, message.length]) {
    const records: Buffer[] = [];
    for (let at = 0; at < message.length; at += size) {
      const part = message.subarray(at, at + size);
      records.push(Buffer.from([22, 3, 1, part.length >> 8, part.length & 0xff]), part);
    }
    assert.deepEqual(
      decoded(Buffer.concat([...records, Buffer.from("more")])),
      decoded(hello),
      `records of ${size}`,
    );
  }
});

test("whatever is changed in it, it is read, refused or waited for, and never thrown about", () => {
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % below;
  };
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(hello);
    for (let n = next(4); n >= 0; n--) bytes[next(bytes.length)] = next(256);
    const read = decodeClientHello(bytes.subarray(0, next(bytes.length + 1)), LIMIT);
    assert.ok(read === "incomplete" || isFault(read) || Buffer.isBuffer(read.sessionId), `seed ${seed}`);
  }
});

test("what is no ClientHello is a fault at its place", () => {
  const faultOf = (bytes: string | Buffer, limit = LIMIT) => {
    const read = decodeClientHello(Buffer.from(bytes), limit);
    return isFault(read) ? [read.fault, read.at] : read;
  };
  assert.deepEqual(faultOf("GET / HTTP/1.1"), ["unsupported", 0]);
  assert.deepEqual(faultOf(Buffer.from([22, 3, 1, 0, 0])), ["malformed", 3]);
  assert.deepEqual(faultOf(Buffer.from([22, 3, 1, 0x7f, 0xff])), ["malformed", 3]);
  assert.deepEqual(faultOf(Buffer.from([22, 2, 1, 0, 4])), ["malformed", 1]);
  assert.deepEqual(faultOf(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])), ["unsupported", 5]);
  assert.deepEqual(faultOf(hello, 100), ["too-large", 6]);
});

test("RFC 8446 §4.2.11 and RFC 5077: identities and tickets, and extensions cut short", () => {
  const identity = Buffer.from("an identity of whatever length");
  const list = Buffer.concat([
    u16(identity.length),
    identity,
    Buffer.alloc(4),
    u16(2),
    Buffer.from("id"),
    Buffer.alloc(4),
  ]);
  const psk = Buffer.concat([u16(list.length), list, u16(33), Buffer.alloc(33)]);
  const read = decoded(
    helloWith([
      [35, Buffer.from("ticket")],
      [45, Buffer.from([1, 0])],
      [41, psk],
    ]),
  );
  assert.deepEqual(read.identities.map(String), [String(identity), "id"]);
  assert.equal(String(read.ticket), "ticket");
  assert.deepEqual([read.offersTls13, read.resumesTls13, read.serverName], [false, false, undefined]);
  const cut = decodeClientHello(helloWith([[43, Buffer.from([9, 3])]]), LIMIT);
  assert.ok(isFault(cut) && cut.fault === "malformed");
  const none = decoded(helloWith([]));
  assert.equal(none.ticket, undefined);
});

test("a ticket's IV carries handle and hour, hides both, and opens at either end of seven years", () => {
  const keys = deriveKeys(Buffer.alloc(32, 7), "cluster", "", 0);
  const now = Date.now();
  const ivs = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const tag = { handle: mintHandle(randomInt(64)), startedHour: hourOf(now) - (i % 100) };
    const iv = sealTag(tag, i, keys);
    assert.deepEqual(openTag(iv, keys, now), tag);
    assert.equal(iv.length, 16);
    ivs.add(iv.toString("hex"));
  }
  assert.equal(ivs.size, 500);
  const handle = mintHandle(63);
  const one = { handle, startedHour: hourOf(now) };
  assert.notDeepEqual(
    sealTag(one, 1, keys),
    sealTag(one, 2, keys),
    "two tickets of one session look unrelated",
  );
  const edge = 65_536 * 3_600_000;
  const across = { handle, startedHour: hourOf(edge) - 2 };
  assert.deepEqual(openTag(sealTag(across, 0, keys), keys, edge + 3_600_000), across);
  const ahead = { handle, startedHour: hourOf(edge) };
  assert.deepEqual(openTag(sealTag(ahead, 0, keys), keys, edge - 1), ahead, "a neighbour's clock is ahead");
});

test("short tickets have no parts, and only the right key finds one authentic", () => {
  for (const length of [0, 32, 79]) assert.equal(ticketParts(Buffer.alloc(length)), undefined);
  const ticket = randomBytes(160);
  assert.equal(ticketParts(ticket)?.mac.length, 32);
  assert.equal(isAuthentic(ticket, deriveKeys(Buffer.alloc(32), "c", "", 1)), false);
});

test("keys differ by epoch, cluster, domain and secret, and a ratchet cannot be guessed ahead or back", () => {
  const root = Buffer.alloc(32, 1);
  const names = [
    deriveKeys(root, "c", "", 0),
    deriveKeys(root, "c", "", 1),
    deriveKeys(root, "c", "d", 0),
    deriveKeys(root, "d", "", 0),
    deriveKeys(root, "c,", "", 0),
    deriveKeys(nextRoot(root), "c", "", 0),
  ].flatMap(({ name, hmac, aes, iv }) => [name, hmac, aes, iv].map((part) => part.toString("hex")));
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(deriveKeys(root, "c", "", 5), deriveKeys(root, "c", "", 5));
  assert.deepEqual([epochOf(0, 1_000), epochOf(999, 1_000), epochOf(1_000, 1_000)], [0, 0, 1]);
});

test("a session's state is read as far as it is needed, and nonsense is none", () => {
  const state = Buffer.concat([
    Buffer.from("3012020101020203030402c02f0402aabb0400", "hex"),
    Buffer.alloc(8),
  ]);
  state[1] = state.length - 2;
  assert.deepEqual(decodeSessionState(state), { version: 0x0303, sessionId: Buffer.from("aabb", "hex") });
  for (let length = 0; length < state.length; length++)
    assert.equal(decodeSessionState(state.subarray(0, length)), undefined);
});

function decoded(bytes: Buffer): ClientHello {
  const read = decodeClientHello(bytes, LIMIT);
  return read === "incomplete" || isFault(read) ? assert.fail(JSON.stringify(read)) : read;
}

function helloWith(extensions: readonly (readonly [number, Buffer])[]): Buffer {
  const list = Buffer.concat(extensions.flatMap(([type, body]) => [u16(type), u16(body.length), body]));
  const body = Buffer.concat([
    Buffer.alloc(34, 3),
    Buffer.from([0, 0, 2, 0xc0, 0x2f, 1, 0]),
    u16(list.length),
    list,
  ]);
  const message = Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
  return Buffer.concat([Buffer.from([22, 3, 1]), u16(message.length), message]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
