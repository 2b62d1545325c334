/** Every code a `HoldfastError` can carry; they are stable and may be matched on. */
export type ErrorCode =
  | "invalid-argument"
  | "illegal-transition"
  | "session-ended"
  | "session-conflict"
  | "session-fenced"
  | "establish-refused"
  | "locked"
  | "limit-reached"
  | "checkpoint-backwards"
  | "store-unavailable"
  | "store-closed"
  | "store-corrupt"
  | "kernel-closed"
  | "not-fresh"
  | "response-sent"
  | "unsupported";

/**
 * Misuse of the API, or a fault of the system below it. What a peer sends never throws one.
 * `message` says what to do; `detail` holds the offending value, redacted where it is a secret.
 */
export class HoldfastError extends Error {
  override readonly name = "HoldfastError";
  readonly code: ErrorCode;
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; detail?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail ?? {};
  }
}

export function isHoldfastError(value: unknown, code?: ErrorCode): value is HoldfastError {
  return value instanceof HoldfastError && (code === undefined || value.code === code);
}
