/** Why a transfer did not come to its end; `code` is stable. */
export class TransferError extends Error {
  override readonly name = "TransferError";
  readonly code: TransferErrorCode;
  readonly status: number | undefined;

  constructor(
    code: TransferErrorCode,
    message: string,
    options: { status?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status;
  }
}

export type TransferErrorCode =
  /** The caller's signal was aborted; what was acknowledged stays, and another run goes on from there. */
  | "paused"
  /** The server said no, in a way that trying again does not change. */
  | "refused"
  /** No answer, or none that helps, for as long as was tried. */
  | "unreachable"
  /** The bytes that arrived are not those that were sent. */
  | "digest-mismatch"
  /** The file on this side changed while it was being transferred. */
  | "source-changed"
  /** The server speaks neither of what this client does. */
  | "unsupported";

export interface RetryPolicy {
  /** Attempts in a row without a byte of progress before it gives up. */
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

/** Hears what went wrong before each new attempt, and in how many ms that will be. */
export type OnRetry = (why: TransferError, inMs: number) => void;

export const DEFAULT_RETRY: RetryPolicy = { attempts: 10, firstDelayMs: 500, maxDelayMs: 30_000 };

/** Worth another attempt: a conflict that a look at the offset settles, a lock, a limit of the moment, a fault of theirs. */
export function isRetriable(status: number): boolean {
  return (
    [408, 409, 423, 425, 429, 460].includes(status) || (status >= 500 && status !== 501 && status !== 505)
  );
}

/** Counts attempts since the last progress, and waits longer before each, with full jitter. */
export class Retries {
  readonly #policy: RetryPolicy;
  readonly #signal: AbortSignal | undefined;
  readonly #onRetry: OnRetry | undefined;
  #count = 0;

  constructor(policy: RetryPolicy, signal: AbortSignal | undefined, onRetry?: OnRetry) {
    this.#policy = policy;
    this.#signal = signal;
    this.#onRetry = onRetry;
  }

  progressed(): void {
    this.#count = 0;
  }

  /** Waits, or throws what went wrong when the attempts are used up. `retryAfter`: the field's text. */
  async next(wrong: TransferError, retryAfter?: string | null): Promise<void> {
    this.#count += 1;
    if (this.#count >= this.#policy.attempts) throw wrong;
    const told =
      retryAfter !== undefined && retryAfter !== null && /^\d{1,4}$/.test(retryAfter)
        ? Number(retryAfter) * 1_000
        : undefined;
    const most = Math.min(this.#policy.maxDelayMs, this.#policy.firstDelayMs * 2 ** (this.#count - 1));
    const ms = told ?? Math.random() * most;
    this.#onRetry?.(wrong, ms);
    await wait(ms, this.#signal);
  }
}

export function throwIfPaused(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new TransferError("paused", "The transfer was paused.");
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const paused = (): void => {
      clearTimeout(timer);
      reject(new TransferError("paused", "The transfer was paused."));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", paused);
      resolve();
    }, ms);
    if (signal?.aborted === true) paused();
    else signal?.addEventListener("abort", paused, { once: true });
  });
}
