import { strict as assert } from "node:assert";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../mechanisms/transfer/served.ts";
import { killRounds, seeded } from "./kill-rounds.ts";
import { patchFor } from "./slow-patch.ts";
import { UploadServer } from "./upload-server.ts";

const ROUNDS = Number(process.env["HOLDFAST_SOAK_ROUNDS"] ?? 100);
/** Beyond what node:http gives a request by itself. */
const LONG_MS = 335_000;

let directory: string;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), "holdfast-transfer-soak-"));
});
after(() => rm(directory, { recursive: true }));

test(`${ROUNDS} files arrive as they were, each through a server that is killed half way`, async (t) => {
  const seed = Number(process.env["HOLDFAST_SEED"] ?? Date.now() & 0xffffff);
  t.diagnostic(`HOLDFAST_SEED=${seed}`);
  const server = await UploadServer.start(directory);
  try {
    const outcome = await killRounds(server, directory, ROUNDS, seeded(seed));
    t.diagnostic(JSON.stringify(outcome));
    assert.equal(outcome.whole, ROUNDS);
  } finally {
    await server.kill();
  }
});

test(`one PATCH of ${LONG_MS / 1000} s is taken to its end`, async () => {
  const served = await serve();
  try {
    const { status, offset } = await patchFor(served.url, LONG_MS, 1_000);
    assert.equal(status, 204);
    assert.equal(offset, LONG_MS / 1_000);
  } finally {
    await served.stop();
  }
});
