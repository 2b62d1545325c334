import { decodeNamePacket, encodeNamePacket } from "../../src/mechanisms/netbios/codec/name-service.ts";
import { decodeSessionPacket, encodeSessionPacket } from "../../src/mechanisms/netbios/codec/session.ts";
import { Acceptor } from "../../src/mechanisms/netbios/machine/acceptor.ts";
import { Caller } from "../../src/mechanisms/netbios/machine/caller.ts";
import { NameServer } from "../../src/mechanisms/netbios/machine/name-server.ts";
import { Scanner } from "../../src/mechanisms/netbios/machine/scanner.ts";
import { isFault } from "../../src/wire/index.ts";
import { NAME_PACKETS, SESSION_PACKETS } from "../vectors/netbios.ts";

const NAME = { name: "FILESRV", suffix: 0x20, scope: "" };
const NOW = 1_800_000_000_000;

/** A small generator that a seed repeats (xorshift). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

/** Runs `count` mutated and random inputs through every decoder and machine; throws what they throw. */
export function fuzzNetbios(count: number, seed: number): { accepted: number; rejected: number } {
  const random = randomFrom(seed);
  const session = SESSION_PACKETS.map(({ hex }) => Buffer.from(hex, "hex"));
  const names = NAME_PACKETS.map(({ hex }) => Buffer.from(hex, "hex"));
  const server = nameServer();
  const totals = { accepted: 0, rejected: 0 };
  const tally = (good: boolean): void => {
    if (good) totals.accepted++;
    else totals.rejected++;
  };
  for (let index = 0; index < count; index++) {
    if (index % 2 === 0) tally(trySession(input(session, random), random));
    else tally(tryName(input(names, random), server, index));
  }
  return totals;
}

function nameServer(): NameServer {
  return new NameServer({
    own: [{ name: NAME, group: false, addresses: ["10.0.0.1"] }],
    register: "any-address",
    maxNames: 1_000,
    maxNamesPerAddress: 1_000,
    ttlMs: 60_000,
    requestsPerSecond: 1e9,
    unitId: "00:00:00:00:00:00",
  });
}

/** A captured packet with some bytes changed, cut, repeated or joined, or noise. */
function input(corpus: readonly Buffer[], random: (below: number) => number): Buffer {
  if (random(8) === 0) return Buffer.from(Array.from({ length: random(120) }, () => random(256)));
  let bytes = Buffer.from(corpus[random(corpus.length)] ?? []);
  for (let times = random(4); times >= 0; times--) {
    switch (random(5)) {
      case 0:
        bytes = bytes.subarray(0, random(bytes.length + 1));
        break;
      case 1:
        bytes = Buffer.concat([bytes, corpus[random(corpus.length)] ?? bytes]);
        break;
      case 2:
        bytes = Buffer.concat([
          bytes.subarray(0, random(bytes.length + 1)),
          Buffer.from([random(256)]),
          bytes,
        ]);
        break;
      default:
        if (bytes.length > 0) bytes[random(bytes.length)] = random(256);
    }
  }
  return bytes;
}

function trySession(bytes: Buffer, random: (below: number) => number): boolean {
  const decoded = decodeSessionPacket(bytes, random(2) === 0 ? 17 : 24, 4096);
  const good = decoded !== undefined && !isFault(decoded);
  if (good) {
    const again = decodeSessionPacket(encodeSessionPacket(decoded.message), 24, 4096);
    if (again === undefined || isFault(again))
      throw new Error(`what was decoded does not encode: ${bytes.toString("hex")}`);
  }
  const at = random(bytes.length + 1);
  const pieces = [Buffer.from(bytes.subarray(0, at)), Buffer.from(bytes.subarray(at))];
  const acceptor = new Acceptor({ bits: 24, handshakeMs: 1, now: NOW });
  const caller = new Caller({ called: NAME, calling: NAME, bits: 24, handshakeMs: 1, now: NOW });
  const scanner = new Scanner(24);
  const whole = new Scanner(24);
  caller.handle({ type: "connected" }, NOW);
  const passed = pieces.map((piece) => {
    acceptor.handle({ type: "bytes", bytes: piece }, NOW);
    caller.handle({ type: "bytes", bytes: piece }, NOW);
    return scanner.scan(piece);
  });
  acceptor.handle({ type: "accept" }, NOW);
  const atOnce = whole.scan(bytes);
  // However it is cut, a stream is found right or wrong, and passes the same bytes.
  const cut = passed.some(isFault)
    ? undefined
    : Buffer.concat(passed.flatMap((one) => (isFault(one) ? [] : [one])));
  const same = isFault(atOnce) ? cut === undefined : cut !== undefined && cut.equals(atOnce);
  if (!same) throw new Error(`a cut at ${at} changes what the scanner makes of ${bytes.toString("hex")}`);
  return good;
}

function tryName(bytes: Buffer, server: NameServer, index: number): boolean {
  const packet = decodeNamePacket(bytes);
  if (isFault(packet)) return false;
  const again = decodeNamePacket(encodeNamePacket(packet));
  if (isFault(again) && again.fault !== "too-large") {
    throw new Error(`what was decoded does not encode: ${bytes.toString("hex")}: ${again.why}`);
  }
  const from = { address: `10.0.${index & 7}.${(index >> 3) & 7}`, port: 137 };
  for (const action of server.handle({ type: "packet", packet, from }, NOW + index)) {
    if (action.type === "send") encodeNamePacket(action.packet);
  }
  if (server.tickAt !== undefined && server.tickAt <= NOW + index)
    server.handle({ type: "tick" }, NOW + index);
  return true;
}
