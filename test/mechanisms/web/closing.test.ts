import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createKernel, isHoldfastError } from "../../../src/kernel/index.ts";
import { lmdb } from "../../../src/store/lmdb/index.ts";
import { memory } from "../../../src/store/memory/index.ts";
import { createSessions } from "../../../src/web.ts";

const closed = (error: unknown): boolean => isHoldfastError(error, "store-closed");

test("sessions close the store they made, leave one that was given, and close that too when told to", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-closing-"));
  const before = process.cwd();
  t.after(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  });
  process.chdir(folder);

  const byDefault = createSessions();
  const { visitor } = await byDefault.open(new Request("http://app.example/"));
  await visitor.establish({ principal: "ada" });
  await byDefault.close();
  await assert.rejects(async () => byDefault.kernel.store.stats(), closed);
  const again = createSessions();
  assert.equal((await again.list("ada")).length, 1, "and the next process finds what was there");
  await again.close();

  const own = lmdb({ path: "./own" });
  const over = createSessions({ store: own });
  await over.ready();
  await over.close();
  await own.stats();
  const last = createSessions({ store: own });
  await last.ready();
  await last.close({ store: true });
  await assert.rejects(async () => own.stats(), closed);
});

test("sessions over a kernel of the application's leave it and its store alone", async () => {
  const kernel = createKernel({ store: memory() });
  const sessions = createSessions({ kernel });
  await sessions.close({ store: true });
  const { visitor } = await createSessions({ kernel }).open(new Request("http://app.example/"));
  await visitor.establish({ principal: "ada" });
  await kernel.close();
});
