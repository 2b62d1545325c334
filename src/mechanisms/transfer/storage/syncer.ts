import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { HoldfastError } from "../../../kernel/index.ts";
import { SYNCED_WRITES } from "./log-file.ts";

/**
 * Group commit. Many uploads ask for their bytes to be made durable at once; the file system's journal does that in
 * one go for all that are in flight, and libuv has only so many threads to wait in, four unless UV_THREADPOOL_SIZE says
 * otherwise. So at most `width` syncs run at a time, and for a directory those that wait share the next one.
 */
export class Syncer {
  readonly #width: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;
  readonly #directory: {
    readonly path: string;
    running: Promise<void> | undefined;
    next: Promise<void> | undefined;
  };
  #handle: Promise<FileHandle> | undefined;
  #closed = false;

  constructor(directory: string, width: number = threads() - 1) {
    this.#width = width;
    this.#directory = { path: directory, running: undefined, next: undefined };
  }

  data(file: FileHandle): Promise<void> {
    return this.#inTurn(() => file.datasync());
  }

  /** Writes to a log; it is durable once this resolves. */
  written(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
    return this.#inTurn(async () => {
      const { bytesWritten } = await file.write(bytes, 0, bytes.length, position);
      if (bytesWritten < bytes.length) throw Object.assign(new Error("no room is left"), { code: "ENOSPC" });
      if (!SYNCED_WRITES) await file.datasync();
    });
  }

  async #inTurn(sync: () => Promise<void>): Promise<void> {
    if (this.#running >= this.#width) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running += 1;
    try {
      await sync();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  /** Makes names made or removed before this call durable. One sync that begins after the call serves all callers. */
  directory(): Promise<void> {
    const state = this.#directory;
    if (state.next !== undefined) return state.next;
    if (state.running === undefined) return this.#startDirectory();
    state.next = state.running.then(
      () => this.#startDirectory(),
      () => this.#startDirectory(),
    );
    return state.next;
  }

  #startDirectory(): Promise<void> {
    const state = this.#directory;
    state.next = undefined;
    const running = this.#syncDirectory().finally(() => {
      if (state.running === running) state.running = undefined;
    });
    state.running = running;
    return running;
  }

  async #syncDirectory(): Promise<void> {
    if (this.#closed) throw new HoldfastError("store-closed", "The storage has been closed.");
    this.#handle ??= open(this.#directory.path, "r").catch((error: unknown) => {
      this.#handle = undefined;
      throw error;
    });
    await (await this.#handle).sync();
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#closed = true;
    this.#handle = undefined;
    await (await handle?.catch(() => undefined))?.close();
  }
}

/** How many threads libuv has for files; one stays free for those who do not sync. */
function threads(): number {
  const told = Number(process.env["UV_THREADPOOL_SIZE"]);
  return Number.isInteger(told) && told >= 2 ? Math.min(told, 1024) : 4;
}
