import { strict as assert } from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { getFile, putFile } from "../../src/mechanisms/transfer/client/files.ts";
import { killRounds, seeded } from "./kill-rounds.ts";
import { UploadServer } from "./upload-server.ts";

/** The example server as a process of its own, killed for good while a client is uploading to it. */
describe("the upload server of the examples", () => {
  let directory = "";
  let server: UploadServer;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-kill-"));
    server = await UploadServer.start(directory);
  });
  after(async () => {
    await server.kill();
    await rm(directory, { recursive: true });
  });

  it("is killed again and again: the upload goes on, whole, and acknowledged bytes are not sent twice", async () => {
    const content = randomBytes(12_000_000);
    const path = join(directory, "sent.bin");
    await writeFile(path, content);
    const chunkBytes = 500_000;
    let kills = 0;
    let killing: Promise<void> | undefined;
    const done = await putFile(path, server.endpoint, {
      chunkBytes,
      retry: { attempts: 200, firstDelayMs: 20, maxDelayMs: 100 },
      onProgress: ({ acknowledged }) => {
        if (kills >= 5 || acknowledged < (kills + 1) * 2_000_000 || killing !== undefined) return;
        kills += 1;
        killing = server
          .kill()
          .then(() => server.start())
          .finally(() => (killing = undefined));
      },
    });
    await killing;
    assert.equal(kills, 5);
    assert.ok(done.verified);
    assert.deepEqual(Buffer.from(done.sha256), createHash("sha256").update(content).digest());
    assert.ok(
      done.sentBytes <= content.length + kills * 2 * chunkBytes,
      `${done.sentBytes} bytes were sent for ${content.length}`,
    );
    const back = await getFile(done.url, join(directory, "back.bin"));
    assert.deepEqual(back.sha256, done.sha256);
  });

  it("is killed at moments of chance, and every file arrives as it was", async (t) => {
    const seed = Date.now() & 0xffff;
    t.diagnostic(`seed ${seed}`);
    const { whole, killed } = await killRounds(server, directory, 4, seeded(seed));
    assert.deepEqual([whole, killed], [4, 4]);
  });
});
