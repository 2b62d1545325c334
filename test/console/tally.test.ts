import assert from "node:assert/strict";
import test from "node:test";
import { Tally } from "../../src/console/tally.ts";
import { createKernel, VirtualClock } from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";

test("a quarter of an hour of what came and went, and how long the suspended were away", async () => {
  const clock = new VirtualClock();
  const store = memory();
  const kernel = createKernel({ store, clock, policy: { leaseMs: 3_600_000 } });
  await kernel.start();
  const tally = new Tally(kernel);
  const heard = async (event: string, count: number): Promise<void> => {
    for (let i = 0; i < 1000 && tally.figures().events[event] !== count; i++)
      await new Promise((resolve) => setImmediate(resolve));
    assert.equal(tally.figures().events[event], count, event);
  };
  const sum = (steps: readonly number[]): number => steps.reduce((all, count) => all + count, 0);

  const make = async (): Promise<Parameters<typeof kernel.suspend>[0]> =>
    (await kernel.establish({ mechanism: "dialog", mode: "full-duplex", resumableMs: 60_000 })).record;
  const one = await make();
  await make();
  const suspended = await kernel.suspend(one);
  await heard("suspend", 1);
  assert.equal(tally.figures().resumeAfterMs, undefined);
  clock.advance(7_000);
  await kernel.resume(suspended);
  await heard("resume", 1);
  await kernel.end(one.handle, { reason: "finished" });
  await heard("end", 1);

  const { history, resumeAfterMs, rates } = tally.figures();
  assert.equal(resumeAfterMs, 7_000);
  assert.equal(rates.establishedPerSecond, 0.2);
  assert.deepEqual(
    [history.established, history.suspended, history.resumed, history.ended, history.refused].map(sum),
    [2, 1, 1, 1, 0],
  );
  assert.equal(history.established.length * history.stepMs, 15 * 60_000);
  // Seven seconds lie between them: they are in different steps, the later one further on.
  assert.ok(history.resumed.indexOf(1) > history.suspended.indexOf(1));

  clock.advance(16 * 60_000);
  assert.equal(sum(tally.figures().history.established), 0);
  tally.close();
  await kernel.close();
  await store.close();
});
