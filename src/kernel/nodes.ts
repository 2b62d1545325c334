import { HoldfastError, isHoldfastError } from "./errors.ts";
import type { Kernel } from "./kernel.ts";
import type { SessionRecord } from "./record.ts";
import type { Handle } from "./secret.ts";
import type { NodeLease } from "./store.ts";

/**
 * This process's lease, and what becomes of the sessions of processes that let theirs lapse. A lease is written under
 * its fencing epoch, so a process that was taken for dead finds out with its next renewal.
 */
export class NodeLeases {
  readonly #kernel: Kernel;
  readonly #about: NonNullable<NodeLease["about"]>;
  #mine: NodeLease | undefined;
  #renewing = false;

  constructor(kernel: Kernel, about: NonNullable<NodeLease["about"]>) {
    this.#kernel = kernel;
    this.#about = about;
  }

  async take(): Promise<void> {
    const { store, clock, node, policy } = this.#kernel;
    const now = clock.now();
    const before = (await store.nodes()).find((lease) => lease.id === node);
    const epoch = before?.epoch ?? 0;
    this.#mine = {
      id: node,
      epoch: epoch + 1,
      startedAt: now,
      until: now + policy.leaseMs,
      about: this.#about,
    };
    if (!(await store.putNode(this.#mine, epoch))) {
      throw new HoldfastError(
        "invalid-argument",
        `Another process is taking the node name ${node} at this moment; names must be unique.`,
        {
          detail: { node },
        },
      );
    }
  }

  /** Renews this node's lease and looks after lapsed ones. */
  async sweep(): Promise<void> {
    await this.#renew();
    const { store, clock } = this.#kernel;
    for (const lease of await store.nodes()) {
      if (lease.id === this.#kernel.node || lease.until > clock.now()) continue;
      if (
        lease.gone !== true &&
        !(await store.putNode({ ...lease, epoch: lease.epoch + 1, gone: true }, lease.epoch))
      )
        continue;
      if (lease.gone !== true) await this.#inherit(lease.id);
    }
  }

  async release(): Promise<void> {
    if (this.#mine === undefined) return;
    const now = this.#kernel.clock.now();
    await this.#kernel.store.putNode({ ...this.#mine, until: now, gone: true }, this.#mine.epoch);
    this.#mine = undefined;
  }

  async #renew(): Promise<void> {
    const { clock, policy, store } = this.#kernel;
    const mine = this.#mine;
    if (mine === undefined || this.#renewing || mine.until - clock.now() > (policy.leaseMs * 2) / 3) return;
    this.#renewing = true;
    try {
      const renewed = { ...mine, until: clock.now() + policy.leaseMs };
      if (await store.putNode(renewed, mine.epoch)) this.#mine = renewed;
      // Taken for dead while it slept: its sessions are others' now, so it starts over under a new epoch.
      else await this.take();
    } finally {
      this.#renewing = false;
    }
  }

  /** A dead node's connections are gone: what can be resumed waits for its peer, the rest has crashed. */
  async #inherit(node: string): Promise<void> {
    const kernel = this.#kernel;
    let after: Handle | undefined;
    do {
      const page = await kernel.store.list({
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
      await this.#kernel.end(record, { reason: "crashed", by: "holdfast", detail });
      return;
    }
    try {
      await this.#kernel.suspend(record, {
        detail,
        ...(record.owner !== undefined && { fence: record.owner }),
      });
    } catch (error) {
      // Somebody was faster and has resumed or ended it: then there is nothing left to do.
      if (!isHoldfastError(error, "session-fenced") && !isHoldfastError(error, "session-ended")) throw error;
    }
  }
}
