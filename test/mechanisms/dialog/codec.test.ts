import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import {
  contentSize,
  decodeFrames,
  encodeContent,
  encodeFrame,
} from "../../../src/mechanisms/dialog/codec.ts";
import type { Frame } from "../../../src/mechanisms/dialog/frames.ts";
import {
  BOUND_CREDIT_BYTES,
  BOUND_CREDIT_MESSAGES,
  BOUND_MESSAGE_BYTES,
  BOUND_MS,
} from "../../../src/mechanisms/dialog/numbers.ts";
import { LINK_FRAMES, NUMBERED_FRAMES, UNNUMBERED_FRAMES } from "../../../src/mechanisms/dialog/layout.ts";
import { RecordSplitter, toRecord } from "../../../src/mechanisms/dialog/records.ts";
import { isFault } from "../../../src/wire/fault.ts";

/** Lines of `hex | frames as JSON`, bytes as {"hex": …}; `!` in front of what must be refused, with the fault's kind. */
const vectors = readFileSync("test/vectors/dialog/frames.txt", "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"));

function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { hex: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

test("the published vectors decode to what they say, and encode to the same bytes", () => {
  const seen = new Set<string>();
  for (const line of vectors) {
    const [hex = "", meaning = ""] = line.split("|").map((part) => part.trim());
    const frames = decodeFrames(Buffer.from(hex.replace("!", ""), "hex"));
    if (hex.startsWith("!")) {
      assert.ok(isFault(frames), `${hex} was accepted`);
      assert.equal(frames.fault, meaning.split(" ")[0], line);
      continue;
    }
    if (isFault(frames)) assert.fail(`${hex}: ${frames.why}`);
    assert.deepEqual(plain(frames), JSON.parse(meaning), hex);
    for (const frame of frames) seen.add(frame.type);
    const encoded = Buffer.concat(frames.map(encodeFrame)).toString("hex");
    // An extension is skipped, so it is not there when encoding again.
    if (!meaning.includes('"extended"') && !/^[89a-f]/.test(hex)) assert.equal(encoded, hex);
  }
  assert.deepEqual(
    [...seen].sort(),
    Object.keys({ ...LINK_FRAMES, ...NUMBERED_FRAMES, ...UNNUMBERED_FRAMES }).sort(),
    "a frame has no vector",
  );
});

const bytes = (max: number) => fc.uint8Array({ maxLength: max });
const any = fc.maxSafeNat();
const credit = fc.record({
  messages: fc.nat(BOUND_CREDIT_MESSAGES),
  bytes: fc.nat(BOUND_CREDIT_BYTES),
});
const position = fc.record({ next: any, committed: any, sent: any });
const text = (max: number) => fc.string({ unit: "binary", maxLength: Math.floor(max / 4) });
const frame: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    type: fc.constant("open" as const),
    version: fc.nat(255),
    units: fc.nat(4095),
    placement: fc.nat(255),
    checkpointBytes: any,
    checkpointWindow: fc.nat(999_999),
    maxMessageBytes: fc.nat(BOUND_MESSAGE_BYTES),
    credit,
    holdMs: fc.nat(BOUND_MS),
    proofKey: bytes(65),
    authorization: text(500),
    label: text(256),
    data: bytes(100),
  }),
  fc.record({
    type: fc.constant("resumed" as const),
    secret: text(128),
    epoch: any,
    position,
    credit,
    holdMs: fc.nat(BOUND_MS),
  }),
  fc.record({ type: fc.constantFrom("data" as const, "text" as const, "typed" as const), bytes: bytes(300) }),
  fc.record({
    type: fc.constant("resync" as const),
    kind: fc.constantFrom("restart" as const, "set" as const, "abandon" as const),
    serial: fc.nat(999_999),
    placement: fc.nat(255),
  }),
  fc.record({
    type: fc.constant("gap" as const),
    from: any,
    to: any,
    reason: fc.constantFrom("dropped" as const, "purged" as const),
  }),
  fc.record({ type: fc.constant("ack" as const), next: any, credit }),
  fc.record({ type: fc.constant("migrate" as const), url: text(2048), withinMs: fc.nat(BOUND_MS) }),
);

test("frames come back as they went, many in one message", () => {
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), (frames) => {
      const decoded = decodeFrames(Buffer.concat(frames.map(encodeFrame)));
      assert.deepEqual(plain(decoded), plain(frames));
    }),
  );
});

test("content is encoded the same in one allocation", () => {
  for (const size of [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 3_000_000]) {
    const content = new Uint8Array(size).fill(7);
    const encoded = encodeContent("typed", content);
    assert.deepEqual(encoded, encodeFrame({ type: "typed", bytes: content }));
    assert.equal(contentSize(encoded), size);
  }
  assert.equal(contentSize(encodeFrame({ type: "finish" })), -1);
});

test("random and mutilated bytes give frames or a fault, and never throw", () => {
  fc.assert(
    fc.property(bytes(200), (input) => {
      const decoded = decodeFrames(input);
      if (isFault(decoded)) assert.ok(decoded.at <= input.length && decoded.why.length > 0);
    }),
    { numRuns: 3000 },
  );
  fc.assert(
    fc.property(frame, fc.nat(), fc.nat(255), (original, where, value) => {
      const encoded = encodeFrame(original);
      encoded[where % encoded.length] = value;
      decodeFrames(encoded);
      const shorter = decodeFrames(encodeFrame(original).subarray(0, -1));
      if (!isFault(shorter)) assert.equal(encoded.length, 1);
    }),
    { numRuns: 2000 },
  );
});

test("a message above the agreed size is refused before it is copied", () => {
  const encoded = encodeFrame({ type: "data", bytes: new Uint8Array(101) });
  const decoded = decodeFrames(encoded, 100);
  assert.ok(isFault(decoded) && decoded.fault === "too-large");
  const claim = decodeFrames(Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f));
  assert.ok(isFault(claim) && claim.fault === "too-large");
});

test("records come out whole however the stream is cut, and absurd lengths are refused at once", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 })),
      fc.array(fc.integer({ min: 1, max: 9 })),
      (records, cuts) => {
        const stream = Buffer.concat(records.map(toRecord));
        const splitter = new RecordSplitter(100);
        const got: Uint8Array[] = [];
        let at = 0;
        for (let turn = 0; at < stream.length; turn++) {
          const size = cuts[turn % Math.max(1, cuts.length)] ?? 5;
          const part = splitter.push(stream.subarray(at, at + size));
          if (isFault(part)) assert.fail(part.why);
          got.push(...part);
          at += size;
        }
        assert.deepEqual(
          got.map((one) => [...one]),
          records.map((one) => [...one]),
        );
      },
    ),
  );
  assert.equal(isFault(new RecordSplitter(100).push(Uint8Array.of(0, 0, 0, 101))), true);
  assert.equal(isFault(new RecordSplitter(100).push(Uint8Array.of(0, 0, 0, 0))), true);
});
