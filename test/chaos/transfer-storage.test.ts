import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, open, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { isHoldfastError } from "../../src/kernel/index.ts";
import {
  decodeLog,
  encodeHeader,
  encodeRecord,
} from "../../src/mechanisms/transfer/storage/checkpoint-codec.ts";
import type { LogRecord } from "../../src/mechanisms/transfer/storage/checkpoint-codec.ts";
import { openDiskStorage } from "../../src/mechanisms/transfer/storage/disk.ts";
import { storageFaultReason } from "../../src/mechanisms/transfer/storage/fault.ts";
import type { UploadId } from "../../src/mechanisms/transfer/storage/storage.ts";
import { command, mountSkip, powerLossSkip, shutdownFileSystem } from "../peers/disk.ts";
import { patternBytes } from "./transfer-writer.ts";

const PROGRAM = join(import.meta.dirname, "transfer-writer.js");
const seed = Number(process.env["SEED"] ?? Date.now() % 100_000);
const random = generator(seed);

describe(`uploads on disk through crashes (SEED=${seed})`, () => {
  let root = "";
  before(async () => {
    root = await mkdtemp(join(tmpdir(), "holdfast-crash-"));
  });
  after(() => rm(root, { recursive: true }));

  it("kill -9 at random moments: no acknowledged byte is lost, and what had arrived is kept", async () => {
    const id = "killed-many-times" as UploadId;
    let acknowledged = 0;
    for (let round = 0; round < 15; round += 1) {
      const told = await runUntil(root, id, 1 + Math.floor(random() * 6), (child) => child.kill("SIGKILL"));
      assert.ok((told[0] ?? 0) >= acknowledged, "the offset never goes back");
      acknowledged = told.at(-1) ?? acknowledged;
      const storage = await openDiskStorage(root);
      const found = await storage.recover(id);
      if (found.state !== "found") return assert.fail(found.state);
      assert.ok(found.checkpoint.offset >= acknowledged);
      await storage.close();
    }
    await assertContent(root, id, acknowledged);
  });

  it("data that is shorter than was promised deactivates the upload instead of lowering its offset", async () => {
    const id = await written(root, "data-cut-short-1", 200_000);
    await truncate(join(root, `${id}.1.data`), 199_999);
    await assertLost(root, id, "data-short");
  });

  it("any altered byte of a record or of the header deactivates the upload", async () => {
    for (let round = 0; round < 40; round += 1) {
      const id = await written(root, `altered-record-${round}x`, 10_000);
      const name = join(root, `${id}.1.log`);
      const bytes = await readFile(name);
      const at = Math.floor(random() * bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8));
      await writeFile(name, bytes);
      const storage = await openDiskStorage(root);
      const found = await storage.recover(id);
      assert.equal(found.state, "lost", `byte ${at} of ${bytes.length} was altered`);
      await storage.close();
    }
  });

  it("a record that was cut off while it was written is as if it had never been begun", async () => {
    const id = await written(root, "torn-last-record-1", 10_000);
    const name = join(root, `${id}.1.log`);
    const file = await open(name, "a");
    await file.write(Buffer.alloc(256));
    await file.write(Buffer.alloc(100));
    await file.close();
    const storage = await openDiskStorage(root);
    const found = await storage.recover(id);
    assert.equal(found.state === "found" && found.checkpoint.offset, 10_000);
    await storage.close();
  });

  it("bytes behind the last commit are left behind when the machine has been restarted", async () => {
    const id = await written(root, "other-boot-upload-1", 10_000, 5_000);
    const storage = await openDiskStorage(root);
    await rewriteLog(join(root, `${id}.1.log`), (record) => ({ ...record, bootId: Buffer.alloc(16, 1) }));
    const claim = await storage.claim(id, 2);
    if (claim.state !== "claimed") return assert.fail(claim.state);
    assert.equal(claim.writer.written, 10_000);
    await claim.writer.append([patternBytes(10_000, 1_000)]);
    await claim.writer.commit({ at: 3, complete: true });
    await assertBytes(root, id, 11_000);
    await claim.writer.release();
    await storage.close();
  });

  it("bytes behind the last commit are kept when only the process has died", async () => {
    const id = await written(root, "same-boot-upload-1x", 10_000, 5_000);
    const storage = await openDiskStorage(root);
    const claim = await storage.claim(id, 2);
    if (claim.state !== "claimed") return assert.fail(claim.state);
    assert.equal(claim.writer.written, 15_000);
    await assertBytes(root, id, 15_000);
    await claim.writer.release();
    await storage.close();
  });

  it(
    "a full disk is told as such, keeps what went in, and the upload goes on when there is room",
    { skip: mountSkip() },
    async () => {
      const place = join(root, "small");
      await mkdir(place);
      command("mount", ["-t", "tmpfs", "-o", "size=2m", "holdfast-test", place]);
      try {
        const storage = await openDiskStorage(place);
        const id = "disk-full-upload-1" as UploadId;
        const ballast = join(place, "ballast");
        await writeFile(ballast, Buffer.alloc(1 << 20));
        const writer = await storage.create(id, { info: null, fence: 1, at: 1 });
        assert.ok(writer !== undefined);
        let fault: unknown;
        try {
          for (let turn = 0; turn < 20; turn += 1)
            await writer.append([patternBytes(writer.written, 100_000)]);
        } catch (error) {
          fault = error;
        }
        assert.equal(storageFaultReason(fault), "no-space");
        assert.ok(writer.written > 500_000, "what fitted was kept");
        await rm(ballast);
        const kept = await writer.commit({ at: 2 });
        assert.equal(kept.offset, writer.written);
        await writer.append([patternBytes(writer.written, 100_000)]);
        const done = await writer.commit({ at: 3, complete: true });
        await assertBytes(place, id, done.offset);
        await writer.release();
        await storage.close();
      } finally {
        command("umount", [place]);
      }
    },
  );

  it(
    "a read-only disk still serves what is there, and says why it takes nothing",
    { skip: mountSkip() },
    async () => {
      const place = join(root, "frozen");
      await mkdir(place);
      command("mount", ["-t", "tmpfs", "-o", "size=4m", "holdfast-test", place]);
      try {
        const id = await written(place, "read-only-upload-1", 50_000);
        command("mount", ["-o", "remount,ro", place]);
        const storage = await openDiskStorage(place);
        const found = await storage.recover(id);
        assert.equal(found.state === "found" && found.checkpoint.offset, 50_000);
        await assertBytes(place, id, 50_000);
        const attempts = [
          () => storage.claim(id, 2),
          () => storage.create("another-upload-1x" as UploadId, { info: null, fence: 1, at: 1 }),
          () => storage.remove(id, 1),
        ];
        for (const attempt of attempts) {
          await assert.rejects(
            attempt,
            (error) =>
              isHoldfastError(error, "store-unavailable") && storageFaultReason(error) === "read-only",
          );
        }
        await storage.close();
      } finally {
        command("umount", [place]);
      }
    },
  );

  const powerSkip = powerLossSkip();
  it(
    "power loss at random moments: no acknowledged byte is lost, and no offset is lower",
    { skip: powerSkip },
    async () => {
      const image = join(root, "disk.img");
      const place = join(root, "mount");
      await mkdir(place);
      command("fallocate", ["-l", "192M", image]);
      command("mkfs.ext4", ["-q", "-F", image]);
      const rounds = Number(process.env["POWER_ROUNDS"] ?? 12);
      const acknowledged = new Map<UploadId, number>();
      let most = 0;
      for (let round = 0; round < rounds; round += 1) {
        command("mount", ["-o", "loop", image, place]);
        const directory = join(place, "uploads");
        // Every third round begins a new upload, so that creations are cut off as well.
        const id = `power-loss-upload-${Math.floor(round / 3)}` as UploadId;
        let told: number[] = [];
        try {
          await runUntil(
            directory,
            id,
            1 + Math.floor(random() * 5),
            async (child, acknowledgements) => {
              await new Promise((resolve) => setTimeout(resolve, random() * 8));
              // What counts is what had been told before the power went. A sync that overlaps with the shutdown may
              // still answer well, which no disk could when the power fails.
              told = acknowledgements();
              shutdownFileSystem(place);
              child.kill("SIGKILL");
            },
            `b${round.toString(16).padStart(3, "0")}`,
          );
        } finally {
          command("umount", [place]);
        }
        if (told.length > 0) acknowledged.set(id, told.at(-1) ?? 0);
        most = Math.max(most, told.at(-1) ?? 0);

        command("mount", ["-o", "loop", image, place]);
        try {
          for (const [known, offset] of acknowledged) await assertContent(directory, known, offset);
          if (round % 3 === 2)
            for (const known of acknowledged.keys()) await freeUpload(directory, known, acknowledged);
        } finally {
          command("umount", [place]);
        }
      }
      assert.ok(most > 0, "something was acknowledged before the power went");
    },
  );
});

/** Starts the writer, lets it acknowledge `commits` times, then does `stop`. What it told, in order. */
async function runUntil(
  directory: string,
  id: UploadId,
  commits: number,
  stop: (child: ReturnType<typeof spawn>, told: () => number[]) => unknown,
  boot = "",
): Promise<number[]> {
  const chunk = 10_000 + Math.floor(random() * 90_000);
  const child = spawn(
    process.execPath,
    [PROGRAM, directory, id, String(chunk), String(1 + Math.floor(random() * 4)), boot],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let text = "";
  const told = (): number[] => text.split("\n").slice(0, -1).map(Number);
  let stopping: Promise<unknown> | undefined;
  const wanted = commits;
  child.stdout.on("data", (data: Buffer) => {
    text += data.toString("latin1");
    if (text.split("\n").length > wanted && stopping === undefined)
      stopping = Promise.resolve(stop(child, told));
  });
  let complaints = "";
  child.stderr.on("data", (data: Buffer) => (complaints += data.toString()));
  await new Promise((resolve) => child.on("close", resolve));
  if (stopping === undefined) throw new Error(`the writer stopped by itself: ${complaints}`);
  await stopping;
  return told();
}

async function assertContent(directory: string, id: UploadId, acknowledged: number): Promise<void> {
  const storage = await openDiskStorage(directory);
  const found = await storage.recover(id);
  if (found.state !== "found")
    return assert.fail(`${id} is ${found.state}, ${acknowledged} bytes had been acknowledged`);
  assert.ok(
    found.checkpoint.offset >= acknowledged,
    `${id}: ${found.checkpoint.offset} of ${acknowledged} acknowledged bytes are left`,
  );
  await assertBytes(directory, id, found.checkpoint.offset);
  await storage.close();
}

async function assertBytes(directory: string, id: UploadId, end: number): Promise<void> {
  const storage = await openDiskStorage(directory);
  let at = 0;
  for await (const chunk of storage.read(id, { start: 0, end })) {
    assert.ok(
      patternBytes(at, chunk.length).equals(chunk),
      `the bytes from ${at} on are those that were sent`,
    );
    at += chunk.length;
  }
  assert.equal(at, end);
  await storage.close();
}

async function freeUpload(
  directory: string,
  id: UploadId,
  acknowledged: Map<UploadId, number>,
): Promise<void> {
  const storage = await openDiskStorage(directory);
  await storage.remove(id, 1);
  await storage.sweep({ before: 2, forget: 2 });
  await storage.close();
  acknowledged.delete(id);
}

async function written(directory: string, name: string, committed: number, more = 0): Promise<UploadId> {
  const id = name as UploadId;
  const storage = await openDiskStorage(directory);
  const writer = await storage.create(id, { info: { name }, fence: 1, at: 1 });
  assert.ok(writer !== undefined);
  await writer.append([patternBytes(0, committed)]);
  await writer.commit({ at: 2 });
  if (more > 0) await writer.append([patternBytes(committed, more)]);
  await writer.release();
  await storage.close();
  return id;
}

async function rewriteLog(name: string, change: (record: LogRecord) => LogRecord): Promise<void> {
  const log = decodeLog(await readFile(name));
  if (log.state !== "whole") return assert.fail(log.state);
  const header = encodeHeader(log.header);
  const blocks = [header.block];
  let chain = header.chain;
  for (const record of log.records) {
    const next = encodeRecord(change(record), chain);
    blocks.push(next.block);
    chain = next.chain;
  }
  await writeFile(name, Buffer.concat(blocks));
}

async function assertLost(directory: string, id: UploadId, why: string): Promise<void> {
  const storage = await openDiskStorage(directory);
  assert.deepEqual(await storage.recover(id), { state: "lost", why });
  assert.deepEqual(await storage.claim(id, 2), { state: "lost", why });
  await storage.close();
}

function generator(start: number): () => number {
  let state = start >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
