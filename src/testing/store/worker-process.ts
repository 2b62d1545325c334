import type { ChildProcess } from "node:child_process";
import { fork } from "node:child_process";
import { once } from "node:events";

import type { Json } from "../../kernel/record.ts";
import type { WorkerSpec } from "./harness.ts";
import type { Answer, Task, TaskName } from "./tasks.ts";

/** Another process with the same data open, doing what it is told. */
export class WorkerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly ready: Promise<Json>;
  /** What a running task tells of itself, in order. */
  readonly reports: Json[] = [];
  readonly #pending = new Map<number, { resolve: (value: Json) => void; reject: (error: Error) => void }>();
  #nextId = 0;

  constructor(spec: WorkerSpec) {
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    this.#child = fork(new URL(`./worker.${extension}`, import.meta.url), { serialization: "json" });
    this.#exited = once(this.#child, "exit").then(([code, signal]) => {
      const gone = new Error(`the worker process is gone (${String(signal ?? code)})`);
      for (const { reject } of this.#pending.values()) reject(gone);
      this.#pending.clear();
    });
    this.#child.on("message", (message) => this.#receive(message as Answer));
    this.ready = this.#send({ id: this.#nextId++, task: "open", input: { ...spec } });
  }

  /** Runs a task of tasks.ts to its end. */
  run(task: TaskName, input: Json = null): Promise<Json> {
    return this.#send({ id: this.#nextId++, task, input });
  }

  /** `kill -9`, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  #send(message: Task): Promise<Json> {
    const answer = new Promise<Json>((resolve, reject) => this.#pending.set(message.id, { resolve, reject }));
    // Who kills a worker on purpose does not wait for its answers.
    answer.catch(() => undefined);
    this.#child.send(message);
    return answer;
  }

  #receive(answer: Answer): void {
    if (answer.type === "report") {
      this.reports.push(answer.value);
      return;
    }
    const pending = this.#pending.get(answer.id);
    this.#pending.delete(answer.id);
    if (answer.type === "done") pending?.resolve(answer.value);
    else pending?.reject(new Error(`in the worker: ${answer.message}`));
  }
}
