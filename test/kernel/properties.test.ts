import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Kernel, SessionEvent, SessionRecord, SessionStore, State } from "../../src/kernel/index.ts";
import {
  canMove,
  createKernel,
  credentialKey,
  HoldfastError,
  LIFECYCLE,
  move,
  VirtualClock,
} from "../../src/kernel/index.ts";
import { memory } from "../../src/store/memory/index.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
console.log(`seed ${seed} (SEED=${seed} repeats this run)`);
const events = Object.keys(LIFECYCLE) as SessionEvent[];

test("no sequence of events leaves `ended`, and every illegal move throws and changes nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...events), { maxLength: 60 }), (sequence) => {
      let state: State = "negotiating";
      let hasEnded = false;
      for (const event of sequence) {
        const next = canMove(state, event);
        if (next === undefined) assert.throws(() => move(state, event), HoldfastError);
        else state = move(state, event);
        hasEnded ||= state === "ended";
        if (hasEnded) assert.equal(state, "ended");
      }
    }),
    { seed },
  );
});

/** What the holder of some secrets may expect, kept beside the kernel's own records. */
interface Model {
  current: string;
  /** Newest first. */
  offers: string[];
  previous?: { text: string; until: number };
  /** With until when a use is quiet; from then on it is theft. Newest first, as many as are remembered. */
  retired: { text: string; quietUntil: number }[];
  forgotten: string[];
  alive: boolean;
}

const GRACE = 1_000;
const QUIET = 700;
const KEPT = 3;

const command = fc.oneof(
  fc.constantFrom("rotate", "authenticate", "offer").map((op) => ({ op, n: 0 })),
  fc.nat(1_500).map((n) => ({ op: "advance", n })),
  fc.nat(20).map((n) => ({ op: "present", n })),
);

test("rotation, grace and reuse: whatever the order, a secret opens exactly when it should and theft ends the session", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
      const clock = new VirtualClock();
      const policy = { graceMs: GRACE, quietMs: QUIET, retiredKept: KEPT };
      const kernel = createKernel({ store: memory({ clock }), clock, policy });
      const made = await kernel.establish({ mechanism: "web", mode: "request-response", principal: "p" });
      const first = made.secret?.reveal() ?? "";
      const known = [first];
      const model: Model = { current: first, offers: [], retired: [], forgotten: [], alive: true };
      let record = made.record;
      for (const { op, n } of commands) {
        if (op === "advance") clock.advance(n);
        else if (op === "present") {
          const text = known[n % known.length] ?? first;
          record = (await checkPresented(kernel, model, text, clock.now())) ?? record;
        } else if (model.alive) {
          const secret = await replace(kernel, record, op, model, clock.now());
          known.push(secret.text);
          record = secret.record;
        }
      }
      await kernel.close();
    }),
    { seed, numRuns: 300 },
  );
});

function retire(model: Model, texts: (string | undefined)[], quietUntil: number): void {
  const gone = texts.filter((text) => text !== undefined).map((text) => ({ text, quietUntil }));
  model.retired = [...gone, ...model.retired];
  model.forgotten.push(...model.retired.slice(KEPT).map((one) => one.text));
  model.retired = model.retired.slice(0, KEPT);
}

async function replace(
  kernel: Kernel,
  record: SessionRecord,
  op: string,
  model: Model,
  now: number,
): Promise<{ text: string; record: SessionRecord }> {
  const made =
    op === "rotate"
      ? await kernel.rotate(record)
      : op === "offer"
        ? await kernel.offer(record)
        : await kernel.authenticate(record, { amr: ["pwd"] });
  const text = made.secret.reveal();
  if (op === "offer") {
    model.offers.unshift(text);
    retire(model, model.offers.splice(3), now);
  } else if (op === "authenticate") {
    retire(model, [model.current, ...model.offers, model.previous?.text], now + QUIET);
    model.offers = [];
    delete model.previous;
    model.current = text;
  } else {
    const { offers, previous } = model;
    retire(model, offers, now);
    // The secret before the last stands in front of one that was only offered.
    if (previous !== undefined) retire(model, [previous.text], previous.until);
    model.offers = [];
    model.previous = { text: model.current, until: now + GRACE };
    model.current = text;
  }
  return { text, record: made.record };
}

async function checkPresented(
  kernel: Kernel,
  model: Model,
  text: string,
  now: number,
): Promise<SessionRecord | undefined> {
  const presented = await kernel.present(text);
  const expected = expectation(model, text, now);
  assert.equal(presented.good ? presented.slot : presented.why, expected);
  if (expected === "reused") model.alive = false;
  if (!presented.good || presented.slot !== "pending") return undefined;
  const key = credentialKey(text);
  const confirmed = await kernel.confirm(presented.record, key === undefined ? {} : { key });
  // Remembered are the secret that was replaced, then the one before it, then what was offered besides.
  const others = model.offers.filter((one) => one !== text);
  retire(model, others, now);
  retire(model, [model.current, model.previous?.text], now + QUIET);
  model.current = text;
  model.offers = [];
  delete model.previous;
  return confirmed;
}

function expectation(model: Model, text: string, now: number): string {
  if (model.forgotten.includes(text)) return "unknown";
  if (!model.alive) return "ended";
  if (text === model.current) return "current";
  if (model.offers.includes(text)) return "pending";
  if (text === model.previous?.text) return now < model.previous.until ? "previous" : "reused";
  const retired = model.retired.find((one) => one.text === text);
  return retired === undefined ? "unknown" : now < retired.quietUntil ? "retired" : "reused";
}

test("three nodes that change one session in any interleaving: versions count up by one, checkpoints rise, the end is final", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.array(fc.tuple(fc.nat(2), fc.nat(6), fc.nat(50)), { maxLength: 40 }),
      async (scheduler, steps) => {
        const clock = new VirtualClock();
        const store: SessionStore = memory({ clock });
        const kernels = ["a", "b", "c"].map((node) => createKernel({ store, clock, node }));
        await Promise.all(kernels.map((kernel) => kernel.start()));
        const request = {
          mechanism: "dialog",
          mode: "full-duplex",
          principal: "p",
          resumableMs: 1e9,
          data: { n: 0 },
          own: true,
        } as const;
        const { record } = await (kernels[0] as Kernel).establish(request);
        const history = watch(store, record);
        // From here on, reads and writes of the store happen in an order that fast-check chooses.
        delay(store, scheduler);
        let counted = 0;
        const running = steps.map(async ([node, kind, n]) => {
          const kernel = kernels[node] as Kernel;
          await scheduler.schedule(Promise.resolve());
          const stale = history.at(-1 - (n % history.length)) ?? record;
          try {
            if (kind === 0) await kernel.rotate(stale);
            else if (kind === 1) await kernel.checkpoint(stale, { position: n });
            else if (kind === 2) await kernel.resume(stale);
            else if (kind === 3) await kernel.suspend(stale);
            else if (kind === 4 && n < 5) await kernel.end(stale, { reason: "logout" });
            else {
              await kernel.update<{ n: number }>(stale, (data) => ({ n: data.n + 1 }));
              counted++;
            }
          } catch (error) {
            assert.ok(error instanceof HoldfastError, String(error));
            assert.ok(
              ["session-ended", "checkpoint-backwards", "illegal-transition", "session-conflict"].includes(
                error.code,
              ),
              error.code,
            );
          }
        });
        await scheduler.waitFor(Promise.all(running));
        checkHistory(history);
        assert.deepEqual(history.at(-1)?.data, { n: counted }, "every acknowledged update is there");
        await Promise.all(kernels.map((kernel) => scheduler.waitFor(kernel.close())));
      },
    ),
    { seed, numRuns: 150 },
  );
});

/** Every version of the record that the store has taken, in order. */
function watch(store: SessionStore, first: SessionRecord): SessionRecord[] {
  const history = [first];
  const update = store.update.bind(store);
  store.update = async (prev, next, entries, ack) => {
    const outcome = await update(prev, next, entries, ack);
    if (outcome === "updated" && next.handle === first.handle) history.push(next);
    return outcome;
  };
  return history;
}

function delay(store: SessionStore, scheduler: fc.Scheduler): void {
  const update = store.update.bind(store);
  store.update = (...args) => scheduler.schedule(Promise.resolve()).then(() => update(...args));
  const get = store.get.bind(store);
  store.get = (...args) => scheduler.schedule(Promise.resolve()).then(() => get(...args));
}

function checkHistory(history: readonly SessionRecord[]): void {
  for (const [i, next] of history.entries()) {
    const before = history[i - 1];
    if (before === undefined) continue;
    assert.equal(next.version, before.version + 1);
    assert.notEqual(before.state, "ended", "nothing is written after the end");
    assert.ok((next.checkpoint?.position ?? 0) >= (before.checkpoint?.position ?? 0));
    assert.ok((next.owner?.epoch ?? 0) >= (before.owner?.epoch ?? 0));
  }
}
