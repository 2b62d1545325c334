import type { Clock } from "./clock.ts";
import { assertData } from "./data.ts";
import type { JournalDraft } from "./journal.ts";
import type { SessionEvent } from "./lifecycle.ts";
import { phaseOf } from "./lifecycle.ts";
import type { KernelPolicy } from "./policy.ts";
import type { Draft, Json, SessionRecord } from "./record.ts";
import type { EntryDetails } from "./requests.ts";
import type { SessionStore } from "./store.ts";

/** What every part of the kernel stands on. */
export class Core {
  readonly store: SessionStore;
  readonly clock: Clock;
  readonly node: string;
  readonly policy: KernelPolicy;
  readonly #onFault: (error: unknown) => void;
  readonly #background = new Set<Promise<unknown>>();
  readonly #refusals = new Map<string, number>();

  constructor(parts: Pick<Core, "store" | "clock" | "node" | "policy">, onFault: (error: unknown) => void) {
    this.store = parts.store;
    this.clock = parts.clock;
    this.node = parts.node;
    this.policy = parts.policy;
    this.#onFault = onFault;
  }

  fault(error: unknown): void {
    this.#onFault(error);
  }

  /** Counts a refusal under its reason. */
  tally(reason: string): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }

  get refusals(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refusals);
  }

  /** Runs beside the caller; `settled()` waits for it, and what goes wrong goes to `fault`. */
  inBackground(work: Promise<unknown>): void {
    const watched: Promise<unknown> = work
      .catch((error: unknown) => this.fault(error))
      .finally(() => this.#background.delete(watched));
    this.#background.add(watched);
  }

  async settled(): Promise<void> {
    await Promise.all(this.#background);
  }

  entry(record: SessionRecord, event: SessionEvent, more: EntryDetails = {}): JournalDraft {
    const draft: Draft<JournalDraft> = {
      handle: record.handle,
      version: record.version,
      at: more.at ?? this.clock.now(),
      phase: phaseOf(event),
      event,
      mechanism: record.mechanism,
      node: this.node,
    };
    if (record.principal !== undefined) draft.principal = record.principal;
    if (more.by !== undefined) draft.by = more.by;
    if (more.detail !== undefined) draft.detail = more.detail;
    return draft;
  }

  assertDataFits(data: Json): void {
    assertData(data, this.policy.dataBytes);
  }
}
