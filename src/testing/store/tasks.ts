import type { Json, SessionRecord } from "../../kernel/record.ts";
import type { Handle } from "../../kernel/secret.ts";
import type { SessionStore } from "../../kernel/store.ts";
import { inWaves } from "./concurrency.ts";
import { end, entryOf, following, note, put, sampleRecord, START, step } from "./samples.ts";

export interface Task {
  readonly id: number;
  readonly task: TaskName | "open";
  readonly input: Json;
}

export type Answer =
  | { readonly type: "done"; readonly id: number; readonly value: Json }
  | { readonly type: "failed"; readonly id: number; readonly message: string }
  | { readonly type: "report"; readonly value: Json };

export type Report = (value: Json) => void;

export type TaskName =
  | "createAll"
  | "increment"
  | "takeAll"
  | "putNode"
  | "createUntilRefused"
  | "raiseEpochs"
  | "readVersion"
  | "churn";

/** What worker processes can be told to do. Each takes JSON and answers JSON. */
export const TASKS: Readonly<
  Record<TaskName, (store: SessionStore, input: Json, report: Report) => Promise<Json>>
> = { createAll, increment, takeAll, putNode, createUntilRefused, raiseEpochs, readVersion, churn };

/** Tries to create every record given; answers the outcome of each. */
async function createAll(store: SessionStore, input: Json): Promise<Json> {
  const records = input as unknown as readonly SessionRecord[];
  const outcomes: string[] = [];
  await inWaves(records.length, 50, async (i) => {
    const record = records[i];
    if (record === undefined) return;
    outcomes[i] = await store.create(record, [entryOf(record, "establish")], { epoch: 0, barrierSeq: 0 });
  });
  return outcomes;
}

/** Adds one to `data` of each session, `times` times, reading again after each conflict; answers the conflicts. */
async function increment(store: SessionStore, input: Json): Promise<Json> {
  const { handles, times } = input as unknown as { handles: readonly Handle[]; times: number };
  let conflicts = 0;
  await inWaves(handles.length * times, handles.length, async (i) => {
    const handle = handles[i % handles.length] as Handle;
    for (;;) {
      const found = await store.get(handle);
      if (found === undefined) throw new Error("the session to count in is gone");
      const next = following(found.record, { data: Number(found.record.data) + 1 });
      const outcome = await store.update(found.record, next, [entryOf(next, "update")]);
      if (outcome === "updated") return;
      if (outcome === "absent") throw new Error("the session to count in is gone");
      conflicts += 1;
    }
  });
  return conflicts;
}

/** Tries to take every ticket; answers the keys it got. */
async function takeAll(store: SessionStore, input: Json): Promise<Json> {
  const keys = input as readonly string[];
  const got: string[] = [];
  await inWaves(keys.length, 50, async (i) => {
    const key = keys[i] as string;
    if ((await store.takeTicket(key, Date.now())) !== undefined) got.push(key);
  });
  return got;
}

/** Tries to take a node's name for the first time, for each id; answers the ids it got. */
async function putNode(store: SessionStore, input: Json): Promise<Json> {
  const got: string[] = [];
  for (const id of input as readonly string[]) {
    const lease = { id, epoch: 1, startedAt: START, until: START + 10_000, about: { pid: process.pid } };
    if (await store.putNode(lease, 0)) got.push(id);
  }
  return got;
}

/** Creates sessions of one principal against a standing read once, until one is refused; answers the handles made. */
async function createUntilRefused(store: SessionStore, input: Json, report: Report): Promise<Json> {
  const principal = input as string;
  const standing = await store.standing(principal);
  const made: Handle[] = [];
  for (;;) {
    const record = sampleRecord({ principal, epoch: standing.epoch, barrierSeq: standing.barrierSeq });
    const outcome = await store.create(record, [entryOf(record, "establish")], standing);
    if (outcome !== "created") return { made, outcome };
    made.push(record.handle);
    report(made.length);
  }
}

/** Raises a principal's epoch `times` times; answers what each call gave. */
async function raiseEpochs(store: SessionStore, input: Json): Promise<Json> {
  const { principal, times } = input as { principal: string; times: number };
  const got: number[] = [];
  for (let i = 0; i < times; i++) got.push(await store.raiseEpoch(principal, [], note("epoch", principal)));
  return got;
}

/** The version of a session as this process sees it now; 0 when it sees none. */
async function readVersion(store: SessionStore, input: Json): Promise<Json> {
  return (await store.get(input as Handle))?.record.version ?? 0;
}

/**
 * Lives of sessions, many at once, until killed or for `lives` of them: made, changed a few times, moved to an owner,
 * ended, and every third one purged. Reports every acknowledged write as `[handle, version]`, and 0 for purged.
 */
async function churn(store: SessionStore, input: Json, report: Report): Promise<Json> {
  const { principals, lives } = input as { principals: readonly string[]; lives: number };
  await inWaves(lives, 16, async (i) => {
    const principal = principals[i % principals.length] as string;
    let record = await put(store, sampleRecord({ principal, data: i }));
    report([record.handle, 1]);
    for (let n = 0; n < 3; n++) {
      record = await step(store, record, { idleAt: START + i * 1000 + n, touchedAt: START + n }, "touch");
      report([record.handle, record.version]);
    }
    record = await step(store, record, { owner: { node: `n${process.pid}`, epoch: 1 } }, "own");
    report([record.handle, record.version]);
    if (i % 2 === 0) return;
    record = await end(store, record);
    report([record.handle, record.version]);
    if (i % 3 === 0 && (await store.purge(record))) report([record.handle, 0]);
  });
  return lives;
}
