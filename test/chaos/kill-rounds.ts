import { strict as assert } from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { getFile, putFile } from "../../src/mechanisms/transfer/client/files.ts";
import type { UploadServer } from "./upload-server.ts";

const BYTES = 6_000_000;
const CHUNK_BYTES = 512 * 1024;
/** What may be on its way when a server dies; all else has been acknowledged. */
const RESENT_BYTES = 1 << 20;

export interface KillRounds {
  readonly whole: number;
  readonly killed: number;
  readonly mostResentBytes: number;
}

/**
 * Uploads a fresh file each round and kills the server for good at a moment of its own, then starts it again. Every file
 * has to arrive as it was, and nothing that was acknowledged may be sent again.
 */
export async function killRounds(
  server: UploadServer,
  directory: string,
  rounds: number,
  random: () => number,
): Promise<KillRounds> {
  let [whole, killed, mostResentBytes] = [0, 0, 0];
  for (let round = 0; round < rounds; round += 1) {
    const content = randomBytes(BYTES);
    const path = join(directory, "round.bin");
    const back = join(directory, "round.back");
    await writeFile(path, content);
    const at = Math.floor(random() * BYTES);
    const delayMs = random() * 20;
    let killing: Promise<void> | undefined;
    let acknowledged = 0;
    const done = await putFile(path, server.endpoint, {
      chunkBytes: CHUNK_BYTES,
      retry: { attempts: 1_000, firstDelayMs: 10, maxDelayMs: 50 },
      onProgress: (progress) => {
        assert.ok(
          progress.acknowledged >= acknowledged && !progress.restarted,
          `round ${round}: ${acknowledged} bytes were acknowledged, then ${progress.acknowledged}`,
        );
        acknowledged = progress.acknowledged;
        if (acknowledged < at) return;
        killing ??= sleep(delayMs)
          .then(() => server.kill())
          .then(() => server.start());
      },
    });
    await (killing ??= server.kill().then(() => server.start()));
    killed += 1;
    assert.ok(done.verified, `round ${round}`);
    mostResentBytes = Math.max(mostResentBytes, done.sentBytes - BYTES);
    assert.ok(mostResentBytes <= RESENT_BYTES, `round ${round}: ${mostResentBytes} bytes were sent again`);
    await getFile(done.url, back);
    const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
    assert.equal(digest(await readFile(back)), digest(content), `round ${round}`);
    await rm(back);
    whole += 1;
  }
  return { whole, killed, mostResentBytes };
}

/** Numbers from 0 to 1 that are the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
