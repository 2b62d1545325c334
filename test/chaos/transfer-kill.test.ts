import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { getFile, putFile } from "../../src/mechanisms/transfer/client/files.ts";

const PROGRAM = join(import.meta.dirname, "../../examples/upload-server.js");

/** The example server as a process of its own, killed for good while a client is uploading to it. */
describe("the upload server of the examples", () => {
  let directory = "";
  let port = 0;
  let child: ChildProcess | undefined;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "holdfast-kill-"));
    port = await freePort();
  });
  after(async () => {
    child?.kill("SIGKILL");
    await rm(directory, { recursive: true });
  });

  const start = async (): Promise<void> => {
    const started = spawn(process.execPath, [PROGRAM, directory, String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    child = started;
    await new Promise<void>((resolve, reject) => {
      started.stdout.on("data", (text: Buffer) => text.toString().includes("uploads at") && resolve());
      started.on("exit", () => reject(new Error("it did not start")));
    });
  };
  const kill = async (): Promise<void> => {
    const dying = child;
    if (dying === undefined) return;
    const gone = new Promise((resolve) => dying.on("exit", resolve));
    dying.kill("SIGKILL");
    await gone;
  };

  it("is killed again and again: the upload goes on, whole, and acknowledged bytes are not sent twice", async () => {
    await start();
    const content = randomBytes(12_000_000);
    const path = join(directory, "sent.bin");
    await writeFile(path, content);
    const chunkBytes = 500_000;
    let kills = 0;
    let killing: Promise<void> | undefined;
    const done = await putFile(path, `http://127.0.0.1:${port}/files`, {
      chunkBytes,
      retry: { attempts: 200, firstDelayMs: 20, maxDelayMs: 100 },
      onProgress: ({ acknowledged }) => {
        if (kills >= 5 || acknowledged < (kills + 1) * 2_000_000 || killing !== undefined) return;
        kills += 1;
        killing = kill()
          .then(start)
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
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
