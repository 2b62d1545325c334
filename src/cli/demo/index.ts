import { setTimeout as sleep } from "node:timers/promises";
import type { Handle, Kernel } from "../../kernel/index.ts";
import { isHoldfastError } from "../../kernel/index.ts";
import { ProxyError } from "../../mechanisms/socks/index.ts";
import { dialog } from "./dialog.ts";
import { netbios } from "./netbios.ts";
import type { Part, PartKind } from "./part.ts";
import { chance } from "./part.ts";
import { invent } from "./people.ts";
import { socks } from "./socks.ts";
import { tls } from "./tls.ts";
import { transfer } from "./transfer.ts";
import { web } from "./web.ts";

/** Every mechanism that the demo brings to life. */
const KINDS: readonly PartKind[] = [web, socks, netbios, tls, dialog, transfer];

export interface DemoOptions {
  readonly kernel: Kernel;
  readonly people: number;
  /** Between two things that happen, in ms. */
  readonly everyMs: number;
  /** The demo ends when it is aborted. */
  readonly signal: AbortSignal;
  readonly onFault: (error: unknown) => void;
}

export interface DemoOutcome {
  /** Sessions that began, by mechanism. */
  readonly began: Readonly<Record<string, number>>;
  /** Those that were alive after every part had said that it ended its own; they were ended too. */
  readonly left: number;
}

/** Lets people come and go until `signal`, then ends every session that was made. */
export async function runDemo(options: DemoOptions): Promise<DemoOutcome> {
  const { kernel, signal, onFault, everyMs } = options;
  const count = new Count(kernel);
  const parts: Part[] = [];
  try {
    const stage = { kernel, onFault, people: invent(options.people) };
    for (const kind of KINDS) parts.push(await kind(stage));
    for (let turn = 0; !signal.aborted; turn++) {
      // Each in its turn at first, so that there is something of all of them at once.
      const part = turn < parts.length * 2 || chance(0.3) ? parts[turn % parts.length] : parts[0];
      await part?.step().catch((error: unknown) => {
        if (!isPartOfTheShow(error)) onFault(error);
      });
      await sleep(everyMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    for (const result of await Promise.allSettled(parts.map((part) => part.close())))
      if (result.status === "rejected") onFault(result.reason);
  }
  return { began: count.began, left: await count.endLeft() };
}

/** The journal's word for what this node has begun, so that the parts' own is not all there is. */
class Count {
  readonly began: Record<string, number> = {};
  readonly #kernel: Kernel;
  readonly #live = new Set<Handle>();
  readonly #stop: () => void;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#stop = kernel.onEntry(({ handle, event, node, mechanism }) => {
      if (handle === undefined) return;
      if (event === "end") this.#live.delete(handle);
      if (event !== "establish" || node !== kernel.node || mechanism === undefined) return;
      this.#live.add(handle);
      this.began[mechanism] = (this.began[mechanism] ?? 0) + 1;
    });
  }

  async endLeft(): Promise<number> {
    this.#stop();
    let left = 0;
    for (const handle of this.#live) {
      const ended = await this.#kernel.end(handle, { reason: "finished", by: this.#kernel.node });
      if (ended !== undefined) left++;
    }
    return left;
  }
}

/** Locks, limits, revocations and rules are there to be tried on the demo's people. */
function isPartOfTheShow(error: unknown): boolean {
  return error instanceof ProxyError || (isHoldfastError(error) && REFUSALS.has(error.code));
}

const REFUSALS: ReadonlySet<string> = new Set([
  "locked",
  "limit-reached",
  "establish-refused",
  "session-ended",
]);
