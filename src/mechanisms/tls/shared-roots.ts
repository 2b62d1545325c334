import { createHash, randomBytes } from "node:crypto";
import type { Settings } from "./options.ts";
import type { RootSource } from "./roots.ts";
import { epochOf, nextRoot, wrappingKey } from "./schedule.ts";
import { seal, unseal } from "./seal.ts";

/**
 * Roots that the servers of a cluster agree on through the store, where each lies sealed under the secret. Whoever puts
 * one first has made it; a server that comes later reads it.
 */
export abstract class SharedRoots implements RootSource {
  readonly #settings: Settings;
  readonly #erased: (before: number) => void;
  readonly #roots = new Map<number, Buffer>();
  #wrapping: Buffer[];
  #first: Promise<void> | undefined;
  #isReady = false;
  #cancel: (() => void) | undefined;
  #closed = false;

  /** `erased` hears of the first epoch that still has a root. */
  constructor(settings: Settings, erased: (before: number) => void) {
    this.#settings = settings;
    this.#erased = erased;
    this.#wrapping = settings.secrets.map((secret) => wrappingKey(secret, settings.cluster));
  }

  /** Makes or reads what is missing, forgets what is over. */
  protected abstract arrange(current: number): Promise<void>;

  root(epoch: number): Buffer | undefined {
    return this.#roots.get(epoch);
  }

  /** `undefined` once there are roots; a promise that resolves after the first attempt until then. */
  ready(): Promise<void> | undefined {
    return this.#isReady ? undefined : (this.#first ??= this.#tick());
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#forget(Infinity);
  }

  /** Seals the roots there are with another secret as well as what is to come. */
  async rewrap(secret: Buffer): Promise<void> {
    this.#wrapping = [wrappingKey(secret, this.#settings.cluster), ...this.#wrapping];
    for (const [epoch, root] of this.#roots) {
      if ((await this.#sealedOf(epoch)) === undefined) continue;
      await this.#settings.kernel.store.dropTicket(this.#keyOf(epoch));
      await this.publish(epoch, root);
    }
  }

  protected get settings(): Settings {
    return this.#settings;
  }

  protected keep(epoch: number, root: Buffer): void {
    this.#roots.set(epoch, root);
  }

  /** The root of that epoch as it lies in the store; `undefined` when it does not, or under a secret we have not. */
  protected async published(epoch: number): Promise<Buffer | undefined> {
    const value = await this.#sealedOf(epoch);
    if (value === undefined) return undefined;
    for (const key of this.#wrapping) {
      const root = unseal(key, value, this.#keyOf(epoch));
      if (root !== undefined) return root;
    }
    return undefined;
  }

  /** False when somebody else was first. */
  protected publish(epoch: number, root: Buffer): Promise<boolean> {
    const { epochMs, previous, kernel } = this.#settings;
    const [key] = this.#wrapping;
    if (key === undefined) return Promise.resolve(false);
    const name = this.#keyOf(epoch);
    // As long as a neighbour with a slow clock may still want it.
    return kernel.store.putTicket(name, seal(key, root, name), (epoch + previous + 2) * epochMs);
  }

  protected async retract(epoch: number): Promise<void> {
    await this.#settings.kernel.store.dropTicket(this.#keyOf(epoch));
  }

  protected forget(before: number): void {
    this.#forget(before);
    this.#erased(before);
  }

  #forget(before: number): void {
    for (const [epoch, root] of this.#roots) {
      if (epoch >= before) continue;
      root.fill(0);
      this.#roots.delete(epoch);
    }
  }

  async #tick(): Promise<void> {
    const { kernel, epochMs, onFault } = this.#settings;
    const { clock } = kernel;
    let again = RETRY_MS;
    try {
      const current = epochOf(clock.now(), epochMs);
      await this.arrange(current);
      this.#isReady = true;
      again = Math.min((current + 1) * epochMs - clock.now(), LONGEST_TIMER_MS);
    } catch (error) {
      onFault(error);
    }
    if (!this.#closed) this.#cancel = clock.after(Math.max(again, 1), () => void this.#tick());
  }

  async #sealedOf(epoch: number): Promise<Uint8Array | undefined> {
    const { store, clock } = this.#settings.kernel;
    return store.peekTicket(this.#keyOf(epoch), clock.now());
  }

  #keyOf(epoch: number): string {
    const { cluster, keys, epochMs } = this.#settings;
    const name = createHash("sha256")
      .update(JSON.stringify([cluster, keys, epochMs]))
      .digest("base64url");
    return `tls-root:${name}:${epoch}`;
  }
}

/** New ones each epoch. The next is made ahead of its time, so that nobody waits for it at midnight. */
export class RandomRoots extends SharedRoots {
  protected async arrange(current: number): Promise<void> {
    const { previous, next } = this.settings;
    for (let epoch = current - previous; epoch <= current + Math.max(next, 1); epoch++) {
      if (this.root(epoch) !== undefined) continue;
      const root = await this.#agreed(epoch, epoch >= current);
      if (root !== undefined) this.keep(epoch, root);
    }
    this.forget(current - previous);
  }

  async #agreed(epoch: number, make: boolean): Promise<Buffer | undefined> {
    const there = await this.published(epoch);
    if (there !== undefined || !make) return there;
    const fresh = randomBytes(32);
    return (await this.publish(epoch, fresh)) ? fresh : this.published(epoch);
  }
}

/**
 * Each root from the one before, which is then erased. What lies in the store is the oldest that is still accepted: the
 * later ones follow from it, the earlier ones do not.
 */
export class RatchetRoots extends SharedRoots {
  #base: number | undefined;

  protected async arrange(current: number): Promise<void> {
    const { previous, next } = this.settings;
    this.#base ??= await this.#join(current);
    const oldest = Math.max(this.#base, current - previous);
    for (let epoch = this.#base; epoch < current + Math.max(next, 1); epoch++) {
      const root = this.root(epoch);
      if (root !== undefined && this.root(epoch + 1) === undefined) this.keep(epoch + 1, nextRoot(root));
    }
    const base = this.root(oldest);
    if (base !== undefined && (oldest > this.#base || (await this.#search(current)) === undefined))
      await this.publish(oldest, base);
    if (oldest > this.#base) await this.retract(this.#base);
    this.#base = oldest;
    this.forget(oldest);
  }

  /** Reads the base that is there, or makes the first; only whoever holds the mark may make it. */
  async #join(current: number): Promise<number> {
    const { kernel, cluster } = this.settings;
    const mark = `tls-genesis:${cluster}`;
    for (;;) {
      const found = await this.#search(current);
      if (found !== undefined) return found;
      const { clock, store } = kernel;
      if (await store.putTicket(mark, Uint8Array.of(1), clock.now() + GENESIS_MS)) {
        // Between looking and marking, another may have come and gone.
        const meanwhile = await this.#search(current);
        if (meanwhile === undefined) {
          const first = randomBytes(32);
          await this.publish(current, first);
          this.keep(current, first);
        }
        await store.dropTicket(mark);
        return meanwhile ?? current;
      }
      await new Promise<void>((resolve) => clock.after(GENESIS_MS / 50, resolve));
    }
  }

  async #search(current: number): Promise<number | undefined> {
    const { previous, next } = this.settings;
    for (let epoch = current - previous - 1; epoch <= current + next; epoch++) {
      const root = await this.published(epoch);
      if (root === undefined) continue;
      if (this.#base === undefined) this.keep(epoch, root);
      return epoch;
    }
    return undefined;
  }
}

const RETRY_MS = 1_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const GENESIS_MS = 5_000;
