import type { Carriage } from "./carriage.ts";
import type { Core } from "./core.ts";
import { expiryOf } from "./judge.ts";
import type { EndReason } from "./lifecycle.ts";
import type { SessionRecord } from "./record.ts";
import type { EndOptions } from "./requests.ts";
import type { Handle } from "./secret.ts";
import type { Ended, Writes } from "./writes.ts";

export interface EndHooks {
  /** Asked of the root only, on each newer state of it: false leaves the session as it is. */
  readonly still?: (record: SessionRecord) => boolean;
  /** Hears of the session and of everything under it, each as it ends. */
  readonly ended?: (ended: Ended) => void;
}

/** How sessions end: the record, everything opened under it, and the connections that this node carries of them. */
export class Endings {
  readonly #core: Core;
  readonly #writes: Writes;
  readonly #carriage: Carriage;

  constructor(core: Core, writes: Writes, carriage: Carriage) {
    this.#core = core;
    this.#writes = writes;
    this.#carriage = carriage;
  }

  /** Resolves with the ended record, or `undefined` when there was nothing left to end. */
  async end(
    target: SessionRecord | Handle,
    options: EndOptions,
    hooks: EndHooks = {},
  ): Promise<SessionRecord | undefined> {
    const start =
      typeof target === "string" ? (await this.#core.store.get(target, { fresh: true }))?.record : target;
    if (start === undefined) return undefined;
    const ended = await this.#writes.endOne(start, options, hooks.still);
    if (ended === undefined && hooks.still !== undefined) return undefined;
    if (ended !== undefined) hooks.ended?.(ended);
    const isCarried = ended !== undefined && this.#carriage.carries(start.handle);
    const closing = isCarried ? this.#carriage.closeAll(start.handle, ended.record) : undefined;
    if (start.childless !== true)
      await Promise.all([this.#endChildren(start.handle, options, hooks), closing]);
    else if (closing !== undefined) await closing;
    return ended?.record;
  }

  /** As `end`, and resolves when no near cache of any node answers with the session either. */
  async endEverywhere(
    target: SessionRecord | Handle,
    options: EndOptions,
    hooks?: EndHooks,
  ): Promise<SessionRecord | undefined> {
    const ended = await this.end(target, options, hooks);
    // Nobody can come with a secret where there is none.
    if (ended === undefined || hasSecret(ended)) await this.#core.store.settled?.();
    return ended;
  }

  /** Ends a session for a limit of its own, unless it was used or ended meanwhile. */
  expire(record: SessionRecord, reason: EndReason): Promise<SessionRecord | undefined> {
    const still = (current: SessionRecord): boolean => expiryOf(current, this.#core.clock.now()) === reason;
    return this.end(record, { reason, by: "holdfast" }, { still });
  }

  async #endChildren(parent: Handle, options: EndOptions, { ended }: EndHooks): Promise<void> {
    const { checkpoint: _own, ...shared } = options;
    const detail = { ...shared.detail, parent };
    for await (const children of this.#writes.childrenOf(parent)) {
      await Promise.all(
        children.map((child) =>
          this.end(child, { ...shared, detail }, { ...(ended !== undefined && { ended }) }),
        ),
      );
    }
  }
}

function hasSecret({ credentials }: SessionRecord): boolean {
  return credentials.current !== undefined || credentials.pending !== undefined;
}
