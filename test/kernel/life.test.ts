import assert from "node:assert/strict";
import { test } from "node:test";
import { createKernel } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";

test("a session is established, verified, revoked with a receipt, and refused afterwards", async () => {
  const kernel = createKernel({ store: memory() });
  await kernel.start();
  const { record, secret } = await kernel.establish({
    mechanism: "web",
    mode: "request-response",
    principal: "alice",
    own: true,
  });
  assert.ok(secret);
  assert.equal((kernel.verify(secret.reveal()) as typeof record).handle, record.handle);
  let closed = 0;
  await kernel.attach(record, { close: () => void closed++ });
  const next = await kernel.update<{ n?: number } & Record<string, number>>({ ...record, data: {} }, (d) => {
    d.n = 1;
  });
  assert.deepEqual(next.data, { n: 1 });
  const revocation = await kernel.revoke({ principal: "alice" }, { reason: "test" });
  const receipts = await revocation.settled;
  assert.equal(receipts[0]?.state, "closed");
  assert.equal(closed, 1);
  assert.equal(await kernel.verify(secret.reveal()), undefined);
  assert.deepEqual(
    (await kernel.store.timeline(record.handle)).map((e) => e.event),
    ["establish", "issue", "update", "end", "transport-signalled", "transport-closed", "late-use"],
  );
  await kernel.close();
});
