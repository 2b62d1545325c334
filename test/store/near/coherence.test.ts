import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CredentialKey, Found, SessionRecord, SessionStore } from "../../../src/kernel/index.ts";
import { VirtualClock } from "../../../src/kernel/index.ts";
import { nearCache } from "../../../src/store/near/index.ts";
import { epochNote, keyOf, next, ScriptedStore, sessionOf, updateNote } from "./scripted-store.ts";

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const PRINCIPALS = ["ada", "bob"];
const SESSIONS = 4;

type Step =
  | { do: "read" | "fresh"; session: number; byKey: boolean }
  | { do: "write-here" | "write-elsewhere"; session: number; rotate: boolean }
  | { do: "epoch-here" | "epoch-elsewhere"; principal: number }
  | { do: "commit" | "answer"; which: number }
  | { do: "deliver"; count: number }
  | { do: "lose" | "gap" | "live" };

const session = fc.nat(SESSIONS - 1);
const which = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("read" as const, "fresh" as const),
      session,
      byKey: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("write-here" as const, "write-elsewhere" as const),
      session,
      rotate: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("epoch-here" as const, "epoch-elsewhere" as const),
      principal: fc.nat(1),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constantFrom("commit" as const, "answer" as const), which }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("deliver" as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom("lose" as const, "gap" as const, "live" as const) }),
  },
);

test("whatever the order of reads, writes, answers and announcements, nothing announced is unseen", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 80 }),
      fc.integer({ min: 1, max: SESSIONS }),
      async (steps, maxEntries) => {
        const run = await Run.start(maxEntries);
        for (const one of steps) await run.take(one);
        await run.finish();
      },
    ),
    { numRuns: 400 },
  );
});

/** One cache over a scripted store, and what must be true of it after each step. */
class Run {
  readonly #clock = new VirtualClock();
  readonly #scripted = new ScriptedStore(this.#clock);
  readonly #cache: SessionStore;
  readonly #handles: SessionRecord[] = [];
  /** The newest of what the feed brought: no answer from memory may be older. */
  readonly #announced = new Map<string, number>();
  readonly #keys = new Set<CredentialKey>();

  static async start(maxEntries: number): Promise<Run> {
    const run = new Run(maxEntries);
    for (let i = 0; i < SESSIONS; i++) {
      const record = sessionOf(PRINCIPALS[i % PRINCIPALS.length]);
      await run.#scripted.truth.create(record, [], { epoch: 0, barrierSeq: 0 });
      run.#handles.push(record);
      run.#keys.add(keyOf(record));
    }
    await settle();
    run.#scripted.live();
    await settle();
    run.#scripted.holding = true;
    return run;
  }

  private constructor(maxEntries: number) {
    this.#cache = nearCache(this.#scripted.store, { clock: this.#clock, maxEntries });
  }

  async take(step: Step): Promise<void> {
    switch (step.do) {
      case "read":
      case "fresh":
        return this.#read(step);
      case "write-here":
      case "write-elsewhere": {
        const record = await this.#current(step.session);
        const changed = next(record, step.rotate);
        this.#keys.add(keyOf(changed));
        const store = step.do === "write-here" ? this.#cache : this.#scripted;
        void store.update(record, changed, [updateNote(changed)]);
        return;
      }
      case "epoch-here":
      case "epoch-elsewhere": {
        const principal = PRINCIPALS[step.principal] ?? "";
        const store = step.do === "epoch-here" ? this.#cache : this.#scripted;
        void store.raiseEpoch(principal, [], epochNote(principal));
        return settle();
      }
      case "commit":
      case "answer": {
        const { held } = this.#scripted;
        const at = held.length === 0 ? 0 : step.which % held.length;
        if (step.do === "commit") await held[at]?.commit();
        else held.splice(at, 1)[0]?.answer();
        return settle();
      }
      case "deliver":
        return this.#deliver(step.count);
      case "live":
        this.#clock.advance(5_000);
        await settle();
        if (this.#scripted.subscribed) this.#scripted.live();
        return settle();
      default:
        if (step.do === "lose") this.#scripted.lose();
        else this.#scripted.gap();
        return settle();
    }
  }

  /** When all has been answered and announced, the cache and the store agree on everything. */
  async finish(): Promise<void> {
    const { held } = this.#scripted;
    while (held.length > 0) {
      held.shift()?.answer();
      await settle();
    }
    await this.take({ do: "live" });
    await this.#deliver(1_000);
    this.#scripted.holding = false;
    for (const { handle } of this.#handles) {
      assert.deepEqual(await this.#cache.get(handle), await this.#scripted.truth.get(handle));
    }
    for (const key of this.#keys) {
      assert.deepEqual(await this.#cache.find(key), await this.#scripted.truth.find(key));
    }
    await this.#cache.close();
  }

  async #read(step: { do: string; session: number; byKey: boolean }): Promise<void> {
    const record = await this.#current(step.session);
    const options = { fresh: step.do === "fresh" };
    const answer = step.byKey
      ? this.#cache.find(keyOf(record), options)
      : this.#cache.get(record.handle, options);
    if (answer instanceof Promise) void answer;
    else this.#check(answer);
  }

  #check(found: Found | undefined): void {
    assert.ok(found !== undefined, "what is unknown is never answered from memory");
    const { record, epoch } = found;
    assert.ok(record.version >= (this.#announced.get(record.handle) ?? 0), "an announced change is unseen");
    assert.ok(epoch >= (this.#announced.get(record.principal ?? "") ?? 0), "an announced epoch is unseen");
  }

  async #deliver(count: number): Promise<void> {
    if (!this.#scripted.subscribed) return;
    for (const draft of this.#scripted.deliver(count)) {
      if (draft.handle !== undefined) this.#announced.set(draft.handle, draft.version ?? 0);
      else if (draft.principal !== undefined) {
        this.#announced.set(draft.principal, (this.#announced.get(draft.principal) ?? 0) + 1);
      }
    }
    await settle();
  }

  async #current(index: number): Promise<SessionRecord> {
    const found = await this.#scripted.truth.get(this.#handles[index]?.handle ?? sessionOf("").handle);
    assert.ok(found !== undefined);
    return found.record;
  }
}
