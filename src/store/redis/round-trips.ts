import { HoldfastError } from "../../kernel/errors.ts";
import { SHARDS } from "../../kernel/secret.ts";
import { storeClosed } from "../preconditions.ts";
import { errorWord, isConnectionFault, storeFault, unavailable } from "./faults.ts";
import type { Shard } from "./layout.ts";
import { Lane } from "./lane.ts";
import type { Arg, Command, RedisLink } from "./link.ts";
import type { Script } from "./scripts.ts";
import { listOf, numberOf, textOf } from "./stored.ts";

/** A write's answer: what came of it, and what else the script says. */
export interface Written {
  readonly outcome: string;
  readonly rest: readonly unknown[];
}

/** How a write is sent; the lane of durable writes has its own. */
export type Sender = (shard: Shard, command: Command, giveUpAt: number) => Promise<unknown>;

/**
 * Every question to Redis goes through here and ends within `timeoutMs`, whatever Redis does:
 * no connection is waited for longer than that, no answer either, and after a failure calls are refused at once but for
 * one every 50 ms that tries. A write carries the instant (in the server's time) after which it must not happen.
 */
export class RoundTrips {
  readonly link: RedisLink;
  readonly #timeoutMs: number;
  /** One for a single node; one for each shard of a cluster, because its nodes fail and keep time apart. */
  readonly #lanes: readonly Lane[];
  readonly #waiting = new Set<() => void>();
  readonly counts: Counts = { calls: 0, timeouts: 0, refused: 0, late: 0, scriptsSent: 0 };
  readonly #pending = new Set<Pending>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(link: RedisLink, timeoutMs: number) {
    this.link = link;
    this.#timeoutMs = timeoutMs;
    this.#lanes = Array.from({ length: link.topology === "single" ? 1 : SHARDS }, () => new Lane());
    link.onReady(() => {
      for (const lane of this.#lanes) lane.down = false;
      for (const go of this.#waiting) go();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  assertOpen(): void {
    if (this.#closed) throw storeClosed("redis");
  }

  /** A script that changes nothing: asked again within its time when the connection is lost under way. */
  async read(script: Script, shard: Shard, keys: readonly string[], args: readonly Arg[]): Promise<unknown> {
    return this.#reading(shard, (giveUpAt) => this.#run(script, shard, keys, args, giveUpAt, this.#send));
  }

  /** A command that changes nothing. */
  async ask(shard: Shard, command: Command): Promise<unknown> {
    return this.#reading(shard, (giveUpAt) => this.#send(shard, command, giveUpAt));
  }

  /** Asks every master the same. An answer that is an error is in its place. */
  async survey(command: Command): Promise<readonly unknown[]> {
    this.assertOpen();
    const giveUpAt = performance.now() + this.#timeoutMs;
    const [lane = new Lane()] = this.#lanes;
    try {
      if (!this.link.ready) await this.#connected(lane, giveUpAt);
      return listOf(await this.#answer(lane, this.link.everywhere(command), giveUpAt));
    } catch (error) {
      throw this.#fault(error);
    }
  }

  /**
   * A script that changes something. Never sent twice unless Redis said that it did not carry it out.
   * @throws HoldfastError `store-unavailable`: whether it was carried out is not known, but from now on it will not be.
   */
  async write(
    script: Script,
    shard: Shard,
    keys: readonly string[],
    args: readonly Arg[],
    sender: Sender = this.#send,
  ): Promise<Written> {
    this.assertOpen();
    const lane = this.#lane(shard);
    const giveUpAt = performance.now() + this.#timeoutMs;
    try {
      for (;;) {
        const until = lane.serverTime(giveUpAt);
        const reply = await this.#run(script, shard, keys, [until, ...args], giveUpAt, sender);
        const [head, ...rest] = typeof reply === "string" ? [reply] : listOf(reply);
        const [outcome = "", time] = textOf(head).split(" ");
        lane.learn(numberOf(time), outcome === "late");
        if (outcome !== "late") return { outcome, rest };
        this.counts.late++;
        if (performance.now() >= giveUpAt)
          throw unavailable("Redis took a write too late and left it", "late");
      }
    } catch (error) {
      throw this.#fault(error);
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const pending of this.#pending) pending.reject(storeClosed("redis"));
    this.#pending.clear();
    for (const go of this.#waiting) go();
    this.link.close();
  }

  async #reading(shard: Shard, attempt: (giveUpAt: number) => Promise<unknown>): Promise<unknown> {
    this.assertOpen();
    const giveUpAt = performance.now() + this.#timeoutMs;
    for (let tries = 1; ; tries++) {
      try {
        return await attempt(giveUpAt);
      } catch (error) {
        const again = isConnectionFault(error) && tries < 3 && performance.now() < giveUpAt;
        if (!again || this.#lane(shard).down) throw this.#fault(error);
        // A connection that was just lost says so a moment later: let it, rather than spend the tries on it.
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  async #run(
    script: Script,
    shard: Shard,
    keys: readonly string[],
    args: readonly Arg[],
    giveUpAt: number,
    sender: Sender,
  ): Promise<unknown> {
    try {
      return await sender(shard, ["EVALSHA", script.sha, keys.length, ...keys, ...args], giveUpAt);
    } catch (error) {
      // The server was restarted, or SCRIPT FLUSH: it has not run, and EVAL makes it known again.
      if (errorWord(error) !== "NOSCRIPT") throw error;
      this.counts.scriptsSent++;
      return sender(shard, ["EVAL", script.source, keys.length, ...keys, ...args], giveUpAt);
    }
  }

  readonly #send: Sender = (shard, command, giveUpAt) => {
    const lane = this.#lane(shard);
    this.counts.calls++;
    if (lane.refuses(performance.now())) {
      this.counts.refused++;
      return Promise.reject(unavailable("Redis does not answer", "refused at once after a failure"));
    }
    if (this.link.ready) return this.#answer(lane, this.link.send(shard.meta, command), giveUpAt);
    return this.#connected(lane, giveUpAt).then(() =>
      this.#answer(lane, this.link.send(shard.meta, command), giveUpAt),
    );
  };

  #answer(lane: Lane, asked: Promise<unknown>, giveUpAt: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const pending: Pending = { lane, giveUpAt, reject };
      this.#pending.add(pending);
      if (this.#timer === undefined) this.#watchUntil(giveUpAt);
      asked.then(
        (answer) => {
          this.#pending.delete(pending);
          lane.down = false;
          resolve(answer);
        },
        (error: unknown) => {
          this.#pending.delete(pending);
          // A server that says no is there: what is asked next (a script it does not know) must get through.
          if (errorWord(error) !== undefined) lane.down = false;
          reject(error);
        },
      );
    });
  }

  /** One timer for all that is under way: it costs less than one for each, and rarely finds anything. */
  #watchUntil(at: number): void {
    // A process that was busy itself finds the answers in the socket before it looks.
    this.#timer = setTimeout(
      () => setImmediate(() => this.#giveUp()),
      Math.max(0, at - performance.now()) + 1,
    );
  }

  #giveUp(): void {
    this.#timer = undefined;
    const now = performance.now();
    let next = Infinity;
    for (const pending of this.#pending) {
      if (pending.giveUpAt > now) {
        next = Math.min(next, pending.giveUpAt);
        continue;
      }
      this.#pending.delete(pending);
      this.#silent(pending.lane, pending.reject);
    }
    if (next < Infinity) this.#watchUntil(next);
  }

  #silent(lane: Lane, reject: (error: Error) => void): void {
    this.counts.timeouts++;
    lane.fell(performance.now());
    reject(unavailable("Redis does not answer", `nothing within ${this.#timeoutMs} ms`));
  }

  #connected(lane: Lane, giveUpAt: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        if (this.#closed) reject(storeClosed("redis"));
        else if (this.link.ready) resolve();
        else {
          this.counts.timeouts++;
          lane.fell(performance.now());
          reject(unavailable("Redis cannot be reached", `no connection within ${this.#timeoutMs} ms`));
        }
      };
      const timer = setTimeout(done, Math.max(0, giveUpAt - performance.now()));
      this.#waiting.add(done);
    });
  }

  #fault(error: unknown): HoldfastError {
    if (this.#closed) return storeClosed("redis");
    if (errorWord(error) === "READONLY") this.link.renew();
    return storeFault(error);
  }

  #lane(shard: Shard): Lane {
    const lane = this.#lanes[this.#lanes.length === 1 ? 0 : shard.index];
    if (lane === undefined) throw new RangeError(`no lane for shard ${shard.index}`);
    return lane;
  }
}

interface Pending {
  readonly lane: Lane;
  readonly giveUpAt: number;
  readonly reject: (error: Error) => void;
}

export interface Counts {
  calls: number;
  timeouts: number;
  refused: number;
  late: number;
  scriptsSent: number;
}
