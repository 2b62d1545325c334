import { HoldfastError, isHoldfastError } from "./errors.ts";
import type { Kernel } from "./kernel.ts";
import type { SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";
import type { NodeLease } from "./store.ts";

export interface LeaseHooks {
  /** This node was taken for dead, or another process has its name: what it carries is not its own any more. */
  dispossessed(): void;
  /** Another node died, perhaps in the middle of a revocation. */
  died(node: string): Promise<void>;
}

/**
 * This process's lease, and what becomes of the sessions of processes that let theirs lapse. A lease is written under
 * its fencing epoch, so a process that was taken for dead finds out with its next renewal.
 */
export class NodeLeases {
  readonly #kernel: Kernel;
  readonly #about: NonNullable<NodeLease["about"]>;
  readonly #hooks: LeaseHooks;
  #mine: NodeLease | undefined;

  constructor(kernel: Kernel, about: NonNullable<NodeLease["about"]>, hooks: LeaseHooks) {
    this.#kernel = kernel;
    this.#about = about;
    this.#hooks = hooks;
  }

  /**
   * Takes the name, also from a process that seems to live: after a crash it takes a lease's time to look dead. What an
   * earlier process of the name has left is dealt with before the first session of this one.
   */
  async take(): Promise<void> {
    const { store, clock, node, policy } = this.#kernel;
    const now = clock.now();
    const before = await this.#stored();
    const mine = {
      id: node,
      // A name that was forgotten must not come back with an epoch that a process of before may still hold: epochs begin
      // with the time, and are not raised as often as it passes.
      epoch: before === undefined ? Math.max(now, 1) : before.epoch + 1,
      startedAt: now,
      until: now + policy.leaseMs,
      about: this.#about,
    };
    if (!(await store.putNode(mine, before?.epoch ?? 0))) {
      const forgotten = before !== undefined && (await this.#stored()) === undefined;
      if (forgotten) return this.take();
      throw nameTaken(node);
    }
    this.#mine = mine;
    if (before !== undefined && before.gone !== true) await this.#inherit(node);
  }

  /** Makes the promise to be alive again when a third of it is used up. */
  async renew(): Promise<void> {
    const { clock, policy, store } = this.#kernel;
    const mine = this.#mine;
    if (mine === undefined) {
      await this.#retake();
      return;
    }
    if (mine.until - clock.now() > (policy.leaseMs * 2) / 3) return;
    const renewed = { ...mine, until: clock.now() + policy.leaseMs };
    if (await store.putNode(renewed, mine.epoch)) {
      if (this.#mine === mine) this.#mine = renewed;
      return;
    }
    // Taken for dead while it slept: its sessions are others' now, so it starts over under a new epoch.
    this.#mine = undefined;
    this.#hooks.dispossessed();
    await this.#retake();
  }

  /** Looks after the sessions of nodes whose lease is over. */
  async inheritLapsed(): Promise<void> {
    const { store, clock } = this.#kernel;
    for (const lease of await store.nodes()) {
      if (lease.id === this.#kernel.node || lease.gone === true || lease.until > clock.now()) continue;
      // Fenced before its sessions are touched, and marked when that is done: whoever dies on the way is followed by
      // another node, and to do it twice does no harm.
      const fenced = { ...lease, epoch: lease.epoch + 1 };
      if (!(await store.putNode(fenced, lease.epoch))) continue;
      await this.#inherit(lease.id);
      await this.#hooks.died(lease.id);
      await store.putNode({ ...fenced, gone: true }, fenced.epoch);
    }
  }

  /** Gives the lease back; what this node still carries is left to be inherited. */
  async release(): Promise<void> {
    const mine = this.#mine;
    if (mine === undefined) return;
    this.#mine = undefined;
    const { store, clock, node } = this.#kernel;
    const left = await store.list({ term: `n:${node}`, limit: 1 });
    const done = left.found.length === 0 ? { gone: true } : {};
    await store.putNode({ ...mine, until: clock.now(), ...done }, mine.epoch);
  }

  async #retake(): Promise<void> {
    const stored = await this.#stored();
    const another = stored !== undefined && stored.gone !== true && stored.until > this.#kernel.clock.now();
    if (another) throw nameTaken(this.#kernel.node);
    await this.take();
  }

  async #stored(): Promise<NodeLease | undefined> {
    return (await this.#kernel.store.nodes()).find((lease) => lease.id === this.#kernel.node);
  }

  /** A dead node's connections are gone: what can be resumed waits for its peer, the rest has crashed. */
  async #inherit(node: string): Promise<void> {
    let after: Handle | undefined;
    do {
      const page = await this.#kernel.store.list({
        term: `n:${node}`,
        limit: 200,
        ...(after !== undefined && { after }),
      });
      await Promise.all(page.found.map(({ record }) => this.#orphan(record, node)));
      after = page.next;
    } while (after !== undefined);
  }

  async #orphan(record: SessionRecord, node: string): Promise<void> {
    if (record.state === "suspended") return;
    const detail = { node };
    if (record.resumableMs === undefined || record.state === "negotiating") {
      // Not if it went on elsewhere after this list was read.
      const still = (current: SessionRecord): boolean => current.owner?.epoch === record.owner?.epoch;
      await this.#kernel.endForNow(record, { reason: "crashed", by: "holdfast", detail }, { still });
      return;
    }
    try {
      await this.#kernel.suspend(record, {
        detail,
        ...(record.owner !== undefined && { fence: record.owner }),
      });
    } catch (error) {
      // Somebody was faster and has resumed, suspended or ended it: then there is nothing left to do.
      if (!SETTLED.some((code) => isHoldfastError(error, code))) throw error;
    }
  }
}

/**
 * Whether a store is to forget this lease when another process takes a name, which is `putNode` with an epoch above the
 * expected one: people have had the time to see that the node is gone, and its sessions were others' long before that.
 */
export function isLongGone({ gone, until }: NodeLease, at: number): boolean {
  return gone === true && until + GONE_KEPT_MS <= at;
}

const GONE_KEPT_MS = 24 * 60 * 60 * 1000;

const SETTLED = ["session-fenced", "session-ended", "illegal-transition"] as const;

function nameTaken(node: string): HoldfastError {
  return new HoldfastError(
    "invalid-argument",
    `Another process has the node name ${node}; names must be unique among live processes.`,
    { detail: { node } },
  );
}
