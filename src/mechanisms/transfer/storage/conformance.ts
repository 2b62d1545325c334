import { createHash } from "node:crypto";
import { strict as assert } from "node:assert";
import { isHoldfastError } from "../../../kernel/index.ts";
import type { TransferStorage, UploadDraft, UploadId, UploadWriter } from "./storage.ts";

/** A place for uploads that the suite may fill. */
export interface StorageHarness {
  /** Opens the place, as another process would: two that are open at once share nothing but what is stored. */
  readonly open: () => Promise<TransferStorage>;
  /** Alters one byte of the upload's stored bytes at `offset`, behind the storage's back. Absent: cannot be done. */
  readonly flipBit?: (id: UploadId, offset: number) => Promise<void>;
}

export interface StorageCase {
  readonly name: string;
  run(harness: StorageHarness): Promise<void>;
}

/**
 * What every transfer storage must do, as cases for any test runner. Each needs an empty place of its own:
 * `for (const one of storageCases) test(one.name, () => one.run(freshHarness()))`.
 */
export const storageCases: readonly StorageCase[] = [
  {
    name: "a new upload is empty, is found by another process, and its id is taken",
    async run({ open }) {
      const [here, there] = [await open(), await open()];
      assert.deepEqual(await here.recover(ID), { state: "absent" });
      const writer = await created(here, { length: 10, info: { name: "a.txt" } });
      assert.equal(writer.checkpoint.offset, 0);
      assert.equal(await here.create(ID, draft({})), undefined);
      const found = await there.recover(ID);
      assert.equal(found.state, "found");
      if (found.state !== "found") return;
      assert.deepEqual(found.info, { name: "a.txt" });
      assert.equal(found.checkpoint.length, 10);
      assert.equal(found.checkpoint.complete, false);
      assert.deepEqual(await there.list(), [ID]);
      await closeAll(writer, here, there);
    },
  },
  {
    name: "what is committed is read back, with its digest, and what is not committed is not visible",
    async run({ open }) {
      const [here, there] = [await open(), await open()];
      const writer = await created(here, {});
      await writer.append([bytes(0, 100_000), bytes(100_000, 50_000)]);
      assert.equal(writer.written, 150_000);
      await writer.commit({ at: 2 });
      await writer.append([bytes(150_000, 70_000)]);
      const found = await there.recover(ID);
      assert.equal(found.state === "found" && found.checkpoint.offset, 150_000);
      assert.deepEqual(
        found.state === "found" && Buffer.from(found.checkpoint.digest),
        sha256(bytes(0, 150_000)),
      );
      assert.deepEqual(await readAll(there, 0, 150_000), bytes(0, 150_000));
      assert.deepEqual(await readAll(there, 99_990, 100_020), bytes(99_990, 30));
      await assert.rejects(readAll(there, 0, 150_001), (error) => isHoldfastError(error, "invalid-argument"));
      await closeAll(writer, here, there);
    },
  },
  {
    name: "bytes appended while a commit is under way belong to the next one",
    async run({ open }) {
      const here = await open();
      const writer = await created(here, {});
      await writer.append([bytes(0, 1_000_000)]);
      const first = writer.commit({ at: 2 });
      await writer.append([bytes(1_000_000, 500_000)]);
      const second = writer.commit({ at: 3 });
      assert.equal((await first).offset, 1_000_000);
      assert.deepEqual(Buffer.from((await first).digest), sha256(bytes(0, 1_000_000)));
      assert.equal((await second).offset, 1_500_000);
      assert.deepEqual(Buffer.from((await second).digest), sha256(bytes(0, 1_500_000)));
      await closeAll(writer, here);
    },
  },
  {
    name: "a claim goes on behind the last commit and shuts the earlier writer out",
    async run({ open }) {
      const [here, there] = [await open(), await open()];
      const old = await created(here, { length: 300_000 });
      await old.append([bytes(0, 100_000)]);
      await old.commit({ at: 2 });
      const next = await claimed(there, 2);
      assert.ok(next.written >= 100_000, "what was committed is kept");
      assert.equal(next.checkpoint.length, 300_000);
      assert.equal(await old.current(), false);
      await old.append([Buffer.alloc(50_000, 0xff)]).catch(() => undefined);
      await assert.rejects(old.commit({ at: 3 }), (error) => isHoldfastError(error, "session-fenced"));
      await next.append([bytes(next.written, 300_000 - next.written)]);
      const done = await next.commit({ at: 4, complete: true });
      assert.equal(done.complete, true);
      assert.deepEqual(await readAll(here, 0, 300_000), bytes(0, 300_000));
      await closeAll(old, next, here, there);
    },
  },
  {
    name: "of two claims at once each gets a writer, and only one of them can commit",
    async run({ open }) {
      const [here, there] = [await open(), await open()];
      const first = await created(here, {});
      await first.append([bytes(0, 1_000)]);
      await first.commit({ at: 2 });
      const both = await Promise.all([claimed(here, 2), claimed(there, 3)]);
      const outcomes = await Promise.allSettled(
        both.map(async (writer) => {
          await writer.append([bytes(writer.written, 1_000)]);
          return writer.commit({ at: 3 });
        }),
      );
      assert.ok(outcomes.filter((one) => one.status === "fulfilled").length <= 1);
      const last = await claimed(here, 4);
      assert.deepEqual(await readAll(here, 0, last.checkpoint.offset), bytes(0, last.checkpoint.offset));
      await closeAll(first, ...both, last, here, there);
    },
  },
  {
    name: "after many claims the whole is one, verified, and its digest is that of all bytes",
    async run({ open }) {
      const here = await open();
      let writer = await created(here, {});
      const total = 7 * 40_000;
      for (let turn = 1; turn <= 7; turn += 1) {
        await writer.append([bytes(writer.written, turn * 40_000 - writer.written)]);
        await writer.commit({ at: turn });
        await writer.release();
        if (turn < 7) writer = await claimed(here, turn + 1);
      }
      assert.deepEqual(Buffer.from((await writer.verify()) ?? []), sha256(bytes(0, total)));
      const done = await writer.commit({ at: 9, length: total, complete: true });
      assert.equal(done.digestFrom, 0);
      assert.deepEqual(Buffer.from(done.digest), sha256(bytes(0, total)));
      assert.deepEqual(await readAll(here, 0, total), bytes(0, total));
      await closeAll(writer, here);
    },
  },
  {
    name: "truncate takes back what was appended since the last commit, and the digest knows nothing of it",
    async run({ open }) {
      const here = await open();
      if (!here.capabilities.truncate) return here.close();
      const writer = await created(here, {});
      await writer.append([bytes(0, 5_000)]);
      await writer.commit({ at: 2, provisional: true });
      await writer.append([Buffer.alloc(9_000, 0xee)]);
      await writer.truncate();
      assert.equal(writer.written, 5_000);
      await writer.append([bytes(5_000, 1_000)]);
      const done = await writer.commit({ at: 3, complete: true, length: 6_000 });
      assert.deepEqual(Buffer.from(done.digest), sha256(bytes(0, 6_000)));
      assert.deepEqual(await readAll(here, 0, 6_000), bytes(0, 6_000));
      await closeAll(writer, here);
    },
  },
  {
    name: "provisional bytes are not kept by a claim",
    async run({ open }) {
      const [here, there] = [await open(), await open()];
      const writer = await created(here, {});
      await writer.append([bytes(0, 5_000)]);
      await writer.commit({ at: 2, provisional: true });
      await writer.append([Buffer.alloc(9_000, 0xee)]);
      const next = await claimed(there, 2);
      assert.equal(next.written, 5_000);
      await closeAll(writer, next, here, there);
    },
  },
  {
    name: "a complete upload takes nothing more, and a claim of it changes nothing",
    async run({ open }) {
      const here = await open();
      const writer = await created(here, { length: 4 });
      await writer.append([bytes(0, 4)]);
      await writer.commit({ at: 2, complete: true });
      await assert.rejects(writer.append([bytes(4, 1)]), (error) =>
        isHoldfastError(error, "invalid-argument"),
      );
      const again = await claimed(here, 5);
      assert.equal(again.checkpoint.complete, true);
      await assert.rejects(again.append([bytes(4, 1)]), (error) =>
        isHoldfastError(error, "invalid-argument"),
      );
      assert.deepEqual(await readAll(here, 0, 4), bytes(0, 4));
      await closeAll(writer, again, here);
    },
  },
  {
    name: "uploads are concatenated in the order given, and the parts stay",
    async run({ open }) {
      const here = await open();
      const parts = [PART_A, PART_B];
      for (const [index, id] of parts.entries()) {
        const writer = await here.create(id, draft({ length: 30_000 }));
        assert.ok(writer !== undefined);
        await writer.append([bytes(index * 30_000, 30_000)]);
        await writer.commit({ at: 2, complete: true });
        await writer.release();
      }
      const whole = await here.concat(ID, draft({}), parts);
      if (whole.state !== "claimed") return assert.fail(whole.state);
      assert.equal(whole.writer.checkpoint.complete, true);
      assert.equal(whole.writer.checkpoint.length, 60_000);
      assert.deepEqual(await readAll(here, 0, 60_000), bytes(0, 60_000));
      assert.deepEqual([...(await here.list())].sort(), [ID, PART_A, PART_B].sort());
      await here.close();
    },
  },
  {
    name: "what is removed is gone at once, its id stays taken, and the sweep frees it only when its time has come",
    async run({ open }) {
      const here = await open();
      const writer = await created(here, {});
      await writer.release();
      assert.equal(await here.remove(ID, 1_000), true);
      assert.equal(await here.remove(ID, 1_001), false);
      assert.equal(await here.remove(PART_A, 1_000), false);
      assert.deepEqual(await here.recover(ID), { state: "gone" });
      assert.deepEqual(await here.claim(ID, 2), { state: "gone" });
      assert.deepEqual(await here.list(), []);
      assert.equal(await here.create(ID, draft({})), undefined);
      assert.deepEqual(await here.sweep({ before: 1_000, forget: 0 }), { freed: 0, forgotten: 0 });
      assert.deepEqual(await here.sweep({ before: 1_001, forget: 1_000 }), { freed: 1, forgotten: 0 });
      assert.deepEqual(await here.recover(ID), { state: "gone" });
      assert.deepEqual(await here.sweep({ before: 1_001, forget: 1_001 }), { freed: 0, forgotten: 1 });
      assert.deepEqual(await here.recover(ID), { state: "absent" });
      await here.close();
    },
  },
  {
    name: "a removal that spares complete uploads takes only the others",
    async run({ open }) {
      const here = await open();
      const writer = await created(here, { length: 3 });
      await writer.append([bytes(0, 3)]);
      await writer.commit({ at: 2, complete: true });
      await (await here.create(PART_A, draft({})))?.release();
      assert.equal(await here.remove(ID, 1_000, { unlessComplete: true }), false);
      assert.equal(await here.remove(PART_A, 1_000, { unlessComplete: true }), true);
      assert.equal((await here.recover(ID)).state, "found");
      assert.deepEqual(await here.recover(PART_A), { state: "gone" });
      await closeAll(writer, here);
    },
  },
  {
    name: "pages of a listing join without a gap",
    async run({ open }) {
      const here = await open();
      const ids = Array.from({ length: 7 }, (_, index) => `${"upload-of-the-list"}${index}` as UploadId);
      for (const id of ids) await (await here.create(id, draft({})))?.release();
      const first = await here.list({ limit: 3 });
      const after = first.at(-1);
      assert.ok(after !== undefined);
      assert.deepEqual([...first, ...(await here.list({ after }))], ids);
      await here.close();
    },
  },
  {
    name: "a bit that flips in stored bytes is noticed before the whole is vouched for",
    async run({ open, flipBit }) {
      if (flipBit === undefined) return;
      const here = await open();
      const writer = await created(here, {});
      await writer.append([bytes(0, 3_000_000)]);
      await writer.commit({ at: 2 });
      await writer.release();
      await flipBit(ID, 1_234_567);
      const next = await claimed(here, 2);
      assert.equal(await next.verify(), undefined);
      await closeAll(next, here);
    },
  },
];

const ID = "conformance-upload-1" as UploadId;
const PART_A = "conformance-part-a-1" as UploadId;
const PART_B = "conformance-part-b-1" as UploadId;

function draft(parts: Partial<UploadDraft>): UploadDraft {
  return { info: null, fence: 1, at: 1, ...parts };
}

async function created(storage: TransferStorage, parts: Partial<UploadDraft>): Promise<UploadWriter> {
  const writer = await storage.create(ID, draft(parts));
  assert.ok(writer !== undefined, "a fresh id can be created");
  return writer;
}

async function claimed(storage: TransferStorage, fence: number): Promise<UploadWriter> {
  const claim = await storage.claim(ID, fence);
  if (claim.state !== "claimed") return assert.fail(`the claim found the upload ${claim.state}`);
  return claim.writer;
}

async function readAll(storage: TransferStorage, start: number, end: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of storage.read(ID, { start, end })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function closeAll(...things: readonly (UploadWriter | TransferStorage)[]): Promise<void> {
  for (const one of things) await ("release" in one ? one.release() : one.close());
}

/** Bytes that tell their own offset: any two places within 16 MiB differ. */
function bytes(from: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let index = 0; index < length; index += 1) {
    const at = from + index;
    out[index] = (at * 31 + (at >> 8) * 17 + (at >> 16) * 7) & 0xff;
  }
  return out;
}

function sha256(data: Uint8Array): Buffer {
  return createHash("sha256").update(data).digest();
}
