import type { Barrier, BarrierDraft } from "../../kernel/barrier.ts";
import { HoldfastError } from "../../kernel/errors.ts";
import type { JournalDraft } from "../../kernel/journal.ts";
import { isLongGone } from "../../kernel/nodes.ts";
import type { Handle } from "../../kernel/secret.ts";
import { parseHandle, shardOfPrincipal } from "../../kernel/secret.ts";
import type { NodeLease, Standing } from "../../kernel/store.ts";
import { journalArgs } from "./entries.ts";
import type { Layout, Shard } from "./layout.ts";
import type { RoundTrips } from "./round-trips.ts";
import * as scripts from "./scripts.ts";
import { listOf, numberOf, splitNumber, textOf } from "./stored.ts";

/** Epochs, barriers and nodes. What counts for all sessions is kept in the authority's shard. */
export class Governance {
  readonly #trips: RoundTrips;
  readonly #layout: Layout;
  readonly #journalLength: number;

  constructor(trips: RoundTrips, layout: Layout, journalLength: number) {
    this.#trips = trips;
    this.#layout = layout;
    this.#journalLength = journalLength;
  }

  /** An anonymous session's shard is not known yet; the authority's sequence is never behind another shard's. */
  async standing(principal: string | undefined): Promise<Standing> {
    const shard =
      principal === undefined ? this.#layout.authority : this.#layout.at(shardOfPrincipal(principal));
    const keys = [shard.meta, shard.epochs];
    const [barrierSeq, epoch] = listOf(
      await this.#trips.read(scripts.STANDING, shard, keys, [principalArg(principal)]),
    );
    return { epoch: numberOf(epoch), barrierSeq: numberOf(barrierSeq) };
  }

  async raiseEpoch(principal: string, keep: readonly Handle[], entry: JournalDraft): Promise<number> {
    const shard = this.#layout.at(shardOfPrincipal(principal));
    const kept = keep.filter((handle) => parseHandle(handle) !== undefined);
    const keys = [shard.records, shard.epochs, shard.meta, shard.journal, shard.term(`p:${principal}`)];
    const args = [this.#journalLength, principal, kept.length, ...kept, ...journalArgs([entry], shard, keys)];
    const { rest } = await this.#trips.write(scripts.RAISE_EPOCH, shard, keys, args);
    return numberOf(rest[0]);
  }

  /**
   * The sequence number is drawn in the authority's shard and raised in every other before the call returns: from then
   * on no shard accepts a create that is older, and every one it accepted before can be listed. When a shard cannot be
   * reached the call fails; the barrier stands already and is harmless, and raising it again under its id completes it.
   */
  async raiseBarrier(draft: BarrierDraft, entry: JournalDraft): Promise<Barrier> {
    for (let floor = 0; ;) {
      const seq = await this.#drawSequence(draft, entry, floor);
      const known = Math.max(...(await Promise.all(this.#others().map((shard) => this.#adopt(shard, seq)))));
      // Another barrier raised at the same time may be ahead. If the authority knows nothing of it, it lost its data:
      // then this one must come after what the shards know.
      if (known < seq || known <= (await this.standing(undefined)).barrierSeq) return { ...draft, seq };
      floor = known;
    }
  }

  async liftBarrier(id: string, entry: JournalDraft): Promise<boolean> {
    const shard = this.#layout.authority;
    const keys = [shard.barriers, shard.meta, shard.journal, shard.records];
    const args = [this.#journalLength, id, ...journalArgs([entry], shard, keys)];
    return (await this.#trips.write(scripts.LIFT_BARRIER, shard, keys, args)).outcome === "lifted";
  }

  async barriers(now: number): Promise<readonly Barrier[]> {
    const shard = this.#layout.authority;
    const reply = listOf(await this.#trips.ask(shard, ["HVALS", shard.barriers])).map(textOf);
    const all = reply.map((text) => ({ text, barrier: decodeBarrier(text) }));
    const over = all.filter(({ barrier }) => barrier.until !== undefined && barrier.until <= now);
    if (over.length > 0) {
      const pairs = over.flatMap(({ text, barrier }) => [barrier.id, text]);
      await this.#trips.write(scripts.FORGET, shard, [shard.barriers], ["", ...pairs]);
    }
    return all
      .filter((one) => !over.includes(one))
      .map(({ barrier }) => barrier)
      .sort((a, b) => a.seq - b.seq);
  }

  async putNode(node: NodeLease, expect: number): Promise<boolean> {
    const shard = this.#layout.authority;
    if (node.epoch > expect) await this.#forgetNodes(node);
    const args = ["", node.id, String(expect), `${node.epoch}:${JSON.stringify(node)}`];
    return (await this.#trips.write(scripts.PUT_NODE, shard, [shard.nodes], args)).outcome === "written";
  }

  async nodes(): Promise<readonly NodeLease[]> {
    return (await this.#nodes()).map(({ lease }) => lease);
  }

  async #nodes(): Promise<readonly { readonly text: string; readonly lease: NodeLease }[]> {
    const shard = this.#layout.authority;
    const reply = listOf(await this.#trips.ask(shard, ["HVALS", shard.nodes])).map(textOf);
    return reply.map((text) => ({ text, lease: parseJson<NodeLease>(splitNumber(text).rest) }));
  }

  async #forgetNodes({ id, startedAt }: NodeLease): Promise<void> {
    const gone = (await this.#nodes()).filter(({ lease }) => lease.id !== id && isLongGone(lease, startedAt));
    if (gone.length === 0) return;
    const shard = this.#layout.authority;
    const pairs = gone.flatMap(({ text, lease }) => [lease.id, text]);
    await this.#trips.write(scripts.FORGET, shard, [shard.nodes], ["", ...pairs]);
  }

  async #drawSequence(draft: BarrierDraft, entry: JournalDraft, floor: number): Promise<number> {
    const shard = this.#layout.authority;
    const keys = [shard.barriers, shard.meta, shard.journal, shard.records];
    const entries = journalArgs([entry], shard, keys);
    const args = [this.#journalLength, draft.id, JSON.stringify(draft), floor, ...entries];
    const { rest } = await this.#trips.write(scripts.RAISE_BARRIER, shard, keys, args);
    return numberOf(rest[0]);
  }

  async #adopt(shard: Shard, seq: number): Promise<number> {
    const { rest } = await this.#trips.write(scripts.ADOPT_BARRIER, shard, [shard.meta], ["", seq]);
    return numberOf(rest[0]);
  }

  #others(): readonly Shard[] {
    return this.#layout.shards.filter((shard) => shard !== this.#layout.authority);
  }
}

/** A principal as the scripts take it; an empty one is one too. */
export function principalArg(principal: string | undefined): string {
  return principal === undefined ? "-" : `+${principal}`;
}

function decodeBarrier(text: string): Barrier {
  const { number, rest } = splitNumber(text);
  return { ...parseJson<BarrierDraft>(rest), seq: number };
}

/** What this store wrote is trusted to be whole, not to be there. */
function parseJson<T>(text: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new HoldfastError(
      "store-corrupt",
      "Redis holds something under this store's prefix that it did not write.",
      {
        cause: error,
      },
    );
  }
}
