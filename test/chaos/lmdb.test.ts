import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import type { Handle } from "../../src/kernel/index.ts";
import { lmdb } from "../../src/store/lmdb/index.ts";
import { killOneWriter, storeCase } from "../../src/testing/store/index.ts";
import { command, powerLossSkip, shutdownFileSystem } from "../peers/disk.ts";

const worker = new URL("../conformance/lmdb-worker.js", import.meta.url).href;
const seed = Number(process.env["HOLDFAST_SEED"] ?? Date.now() % 2 ** 31);

storeCase(
  {
    name: "lmdb",
    async fresh() {
      const path = await mkdtemp(join(tmpdir(), "holdfast-chaos-"));
      return {
        open: async (options = {}) => lmdb({ path, timeoutMs: 60_000, ...options }),
        worker: { module: worker, input: { path } },
        dispose: () => rm(path, { recursive: true, force: true }),
      };
    },
  },
  "writers killed again and again, each beside one that goes on: nothing acknowledged is lost",
  async (c) => {
    const rounds = Number(process.env["HOLDFAST_ROUNDS"] ?? 5);
    c.t.diagnostic(`seed ${seed}, ${rounds} rounds (HOLDFAST_SEED and HOLDFAST_ROUNDS set them)`);
    for (let round = 0; round < rounds; round++) await killOneWriter(c, (seed * (round + 7)) % 600);
  },
);

test(
  `power loss at random moments: what was acknowledged as durable is there, whole (HOLDFAST_SEED=${seed})`,
  { skip: powerLossSkip() },
  async (t) => {
    const root = await mkdtemp(join(tmpdir(), "holdfast-power-"));
    // LMDB takes what was written but not flushed for safe while the machine has the boot id it was written under. Here
    // the power fails without a new one, so that it must be told.
    process.env["LMDB_RESTORE"] = "safe";
    t.after(async () => {
      delete process.env["LMDB_RESTORE"];
      await rm(root, { recursive: true, force: true });
    });
    const [image, place] = [join(root, "disk.img"), join(root, "mount")];
    await mkdir(place);
    command("fallocate", ["-l", "96M", image]);
    command("mkfs.ext4", ["-q", "-F", image]);
    const acknowledged: Handle[] = [];
    const rounds = Number(process.env["HOLDFAST_ROUNDS"] ?? 8);
    for (let round = 0; round < rounds; round++) {
      command("mount", ["-o", "loop", image, place]);
      try {
        acknowledged.push(...(await writeUntilPowerFails(place, 1 + ((seed * (round + 3)) % 40))));
      } finally {
        command("umount", [place]);
      }
      command("mount", ["-o", "loop", image, place]);
      try {
        const store = lmdb({ path: join(place, "sessions") });
        const lost = acknowledged.filter((handle) => store.get(handle)?.record.handle !== handle);
        assert.deepEqual(lost, [], `of ${acknowledged.length}, after round ${round}`);
        for (const handle of acknowledged) assert.equal((await store.timeline(handle)).length, 1);
        await store.close();
      } finally {
        command("umount", [place]);
      }
    }
    assert.ok(acknowledged.length > 0, "something was acknowledged before the power went");
  },
);

/** What had been acknowledged before the file system stopped: at least `count` sessions. */
async function writeUntilPowerFails(place: string, count: number): Promise<Handle[]> {
  const program = fileURLToPath(new URL("../store/durable-writer.js", import.meta.url));
  const writer = spawn(process.execPath, [program, join(place, "sessions")], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const gone = once(writer, "close");
  let text = "";
  let complaints = "";
  writer.stderr.on("data", (data: Buffer) => (complaints += data.toString()));
  let told: Handle[] | undefined;
  writer.stdout.on("data", (data: Buffer) => {
    text += data.toString("latin1");
    const handles = text.split("\n").slice(0, -1);
    if (handles.length < count || told !== undefined) return;
    // A flush that overlaps with the end may still answer well, which no disk could: what counts was told before.
    told = handles as Handle[];
    shutdownFileSystem(place);
    writer.kill("SIGKILL");
  });
  await gone;
  assert.ok(told !== undefined, `the writer ended by itself, of ${count} after ${text}: ${complaints}`);
  return told;
}
