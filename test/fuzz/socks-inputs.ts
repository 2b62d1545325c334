import assert from "node:assert/strict";
import { ClientMachine } from "../../src/mechanisms/socks/client-machine.ts";
import * as codec from "../../src/mechanisms/socks/codec.ts";
import { decodeConnectResponse } from "../../src/mechanisms/socks/http-connect.ts";
import { ServerMachine } from "../../src/mechanisms/socks/machine.ts";
import type { Decoded } from "../../src/wire/index.ts";
import { isFault } from "../../src/wire/index.ts";
import { BAD_REQUESTS, SOCKS4_EXCHANGES, SOCKS5_EXCHANGES } from "../vectors/socks.ts";

/** Every codec, by name, with the check that what it took for a message is one. */
const CODECS: Readonly<Record<string, (bytes: Buffer) => unknown>> = {
  greeting: (bytes) => sound(codec.decodeGreeting(bytes), bytes),
  password: (bytes) => sound(codec.decodePassword(bytes), bytes),
  request: (bytes) => {
    const message = sound(codec.decodeRequest(bytes), bytes);
    if (message !== undefined)
      assert.ok(codec.encodeRequest(message.command, message.destination) !== undefined);
  },
  request4: (bytes) => {
    const message = sound(codec.decodeRequest4(bytes), bytes);
    if (message === undefined || message.command === "associate") return;
    assert.ok(codec.encodeRequest4(message.command, message.destination, "") !== undefined);
  },
  choice: (bytes) => sound(codec.decodeChoice(bytes), bytes),
  status: (bytes) => sound(codec.decodePasswordStatus(bytes), bytes),
  reply: (bytes) => sound(codec.decodeReply(bytes), bytes),
  reply4: (bytes) => sound(codec.decodeReply4(bytes), bytes),
  datagram: (bytes) => {
    const datagram = codec.decodeDatagram(bytes);
    if (isFault(datagram)) return;
    assert.ok(codec.encodeDatagram(datagram.endpoint, datagram.payload, datagram.fragment) !== undefined);
  },
  httpConnect: (bytes) => sound(decodeConnectResponse(bytes), bytes),
};

const OPTIONS = {
  handshakeMs: 1,
  connectMs: 1,
  bindMs: 1,
  anonymous: true,
  passwords: true,
  versions: [4, 5],
} as const;

/** Feeds `count` random and mutated inputs to each codec and machine. Throws what they throw. */
export function fuzz(seed: number, count: number): void {
  const random = generator(seed);
  for (const check of Object.values(CODECS)) {
    for (let at = 0; at < count; at++) check(input(random));
  }
  for (let at = 0; at < count; at++) {
    const server = new ServerMachine(OPTIONS);
    server.start(0);
    drive(random, (bytes) => {
      for (const action of server.handle({ type: "bytes", bytes }, 0)) {
        if (action.type === "authenticate") server.handle({ type: "verdict", good: random() < 0.8 }, 0);
        if (action.type === "open") server.handle({ type: "opened", bound: codec.UNSPECIFIED }, 0);
      }
    });
    const protocol = (["socks5", "socks4", "http"] as const)[at % 3] ?? "socks5";
    const destination = { host: "example.com", port: 80 };
    const client = new ClientMachine({
      protocol,
      command: "connect",
      destination,
      username: "u",
      password: "p",
    });
    client.start();
    drive(random, (bytes) => client.handle(bytes));
    client.ended();
  }
}

function sound<T>(decoded: Decoded<T>, bytes: Buffer): T | undefined {
  if (decoded === undefined) return undefined;
  if (isFault(decoded)) {
    assert.ok(decoded.at >= 0 && decoded.at <= Math.max(bytes.length, 16_384), decoded.why);
    return undefined;
  }
  assert.ok(decoded.size > 0 && decoded.size <= bytes.length);
  return decoded.message;
}

function drive(random: () => number, give: (bytes: Buffer) => void): void {
  for (let chunk = Math.floor(random() * 4); chunk >= 0; chunk--) give(input(random));
}

/** Half of them recorded bytes, some of which are changed, cut, doubled or joined; half of them noise. */
function input(random: () => number): Buffer {
  const pick = (): Buffer => SEEDS[Math.floor(random() * SEEDS.length)] ?? Buffer.alloc(0);
  if (random() < 0.5)
    return Buffer.from(Array.from({ length: Math.floor(random() * 40) }, () => random() * 256));
  const bytes = Buffer.concat(random() < 0.3 ? [pick(), pick()] : [pick()]);
  const changes = Math.floor(random() * 4);
  for (let at = 0; at < changes && bytes.length > 0; at++)
    bytes[Math.floor(random() * bytes.length)] = random() * 256;
  return random() < 0.3 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes;
}

const SEEDS: readonly Buffer[] = [
  ...[...SOCKS5_EXCHANGES, ...SOCKS4_EXCHANGES].flatMap(({ client, server }) => [...client, ...server]),
  ...Object.values(BAD_REQUESTS),
  "01047573657204706173730500",
  "0000000103616263000135",
  "00000003097265736f6c76657200352a",
]
  .map((text) => Buffer.from(text, "hex"))
  .concat(Buffer.from("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), Buffer.from("HTTP/1.0 407 \r\n\r\n"));

/** Mulberry32: the same numbers for the same seed, everywhere. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
