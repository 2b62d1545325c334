import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Decoded } from "../../src/wire/index.ts";
import { fault, Inbox, isFault, Reader, Writer } from "../../src/wire/index.ts";

describe("reader and writer", () => {
  it("give back every field that was written, in order", () => {
    const written = new Writer(8)
      .u8(0xab)
      .u16(0xbeef)
      .u24(0x010203)
      .u32(0xdeadbeef)
      .u64(0xffffffffffffffffn)
      .text("name", "ascii")
      .u8(0)
      .fill(3, 0x20)
      .bytes(Buffer.from("tail"))
      .finish();
    const reader = new Reader(written);
    assert.equal(reader.u8(), 0xab);
    assert.equal(reader.u16(), 0xbeef);
    assert.equal(reader.u24(), 0x010203);
    assert.equal(reader.u32(), 0xdeadbeef);
    assert.equal(reader.u64(), 0xffffffffffffffffn);
    assert.equal(reader.untilNul().toString(), "name");
    assert.equal(reader.take(3).toString(), "   ");
    assert.equal(reader.rest().toString(), "tail");
    assert.equal(reader.remaining, 0);
    assert.equal(reader.short, false);
  });

  it("patch a length once it is known, after the buffer has grown", () => {
    const writer = new Writer(8).u16(0).u32(0);
    writer.fill(100, 1);
    writer.patchU16(0, writer.length).patchU32(2, 0x80000001);
    const bytes = writer.finish();
    assert.equal(bytes.readUInt16BE(0), 106);
    assert.equal(bytes.readUInt32BE(2), 0x80000001);
  });

  it("a field that is not all there reads as nothing, and stays short", () => {
    const reader = new Reader(Buffer.from([1, 2, 3]));
    assert.equal(reader.u32(), 0);
    assert.equal(reader.short, true);
    assert.equal(reader.u8(), 0, "nothing is read after a shortage");
    assert.equal(new Reader(Buffer.from("no end")).untilNul().length, 0);
    const bounded = new Reader(Buffer.from("ab\0"), 0, 2);
    bounded.untilNul();
    assert.equal(bounded.short, true, "a NUL beyond the bound does not count");
    const negative = new Reader(Buffer.from("ab"));
    negative.take(-1);
    assert.equal(negative.short, true);
  });
});

describe("inbox", () => {
  const decode = (bytes: Buffer): Decoded<string> => {
    const reader = new Reader(bytes);
    const body = reader.take(reader.u8());
    if (reader.short) return undefined;
    if (body.includes(0x21)) return fault("malformed", 1 + body.indexOf(0x21), "no shouting");
    return { message: body.toString(), size: reader.at };
  };
  const messages = ["", "a", "hello", "x".repeat(255), "last"];
  const stream = Buffer.concat(
    messages.map((text) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])),
  );

  function readAll(inbox: Inbox): string[] {
    const read: string[] = [];
    for (let next = inbox.take(decode); next !== undefined; next = inbox.take(decode)) {
      assert.ok(!isFault(next));
      read.push(next);
    }
    return read;
  }

  it("gives the same messages wherever the stream is cut", () => {
    for (let cut = 0; cut <= stream.length; cut++) {
      const inbox = new Inbox();
      inbox.append(stream.subarray(0, cut));
      const read = readAll(inbox);
      inbox.append(stream.subarray(cut));
      read.push(...readAll(inbox));
      assert.deepEqual(read, messages, `cut at ${cut}`);
      assert.equal(inbox.size, 0);
    }
  });

  it("gives the same messages byte by byte, and leaves the caller's chunks alone", () => {
    const inbox = new Inbox();
    const read: string[] = [];
    const copy = Buffer.from(stream);
    for (let at = 0; at < copy.length; at++) {
      inbox.append(copy.subarray(at, at + 1));
      read.push(...readAll(inbox));
    }
    assert.deepEqual(read, messages);
    assert.deepEqual(copy, stream);
  });

  it("hands over what follows the last message, and keeps a fault until it is dealt with", () => {
    const inbox = new Inbox();
    inbox.append(Buffer.from("\x02hirest"));
    assert.equal(inbox.take(decode), "hi");
    assert.equal(inbox.drain().toString(), "rest");
    assert.equal(inbox.size, 0);
    inbox.append(Buffer.from("\x03no!"));
    assert.deepEqual(inbox.take(decode), { fault: "malformed", at: 3, why: "no shouting" });
    assert.equal(inbox.size, 4);
    assert.ok(isFault(inbox.take(decode)));
  });
});
