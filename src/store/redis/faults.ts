import { HoldfastError, isHoldfastError } from "../../kernel/errors.ts";

/** The first word of what a Redis server answers instead of a result: `READONLY`, `WRONGTYPE`, `ERR`. */
export function errorWord(error: unknown): string | undefined {
  return error instanceof Error ? /^([A-Z]{3,})(?: |$)/.exec(error.message)?.[1] : undefined;
}

/** True when the connection failed rather than the command: whether it was carried out is not known. */
export function isConnectionFault(error: unknown): boolean {
  return !isHoldfastError(error) && errorWord(error) === undefined;
}

/** Whatever a server or a client library says, as the store contract says it. */
export function storeFault(error: unknown): HoldfastError {
  if (isHoldfastError(error)) return error;
  const said = error instanceof Error ? error.message : String(error);
  const word = errorWord(error);
  if (word === "WRONGTYPE" || (word === "ERR" && !/unknown command|busy|loading|max number/i.test(said))) {
    return new HoldfastError(
      "store-corrupt",
      `Redis holds something else under a key of this store; the key prefix may be shared with another program. (${said})`,
      { cause: error },
    );
  }
  if (word === "ERR" && /unknown command/i.test(said)) {
    return new HoldfastError("unsupported", `Redis 7.0 (or Valkey) or later is needed. (${said})`, {
      cause: error,
    });
  }
  return unavailable(ADVICE[word ?? ""] ?? "Redis cannot be reached", said, error);
}

export function unavailable(what: string, said: string, cause?: unknown): HoldfastError {
  const message = `${what}; nothing can be read or written until it is back. (${said})`;
  return new HoldfastError("store-unavailable", message, cause === undefined ? {} : { cause });
}

const ADVICE: Readonly<Record<string, string>> = {
  BUSY: "Redis is busy with a script of another program",
  CLUSTERDOWN: "The Redis cluster has lost part of its slots",
  LOADING: "Redis is loading its data",
  MASTERDOWN: "This Redis replica has lost its master",
  MISCONF: "Redis refuses writes because it cannot persist them",
  NOAUTH: "Redis wants a password",
  NOPERM: "The Redis user lacks a permission; docs/stores-redis.md lists those needed",
  NOREPLICAS: "Redis refuses writes because too few replicas follow it",
  OOM: "Redis refuses writes because it is over its memory limit",
  READONLY: "This Redis is a replica and takes no writes",
  TRYAGAIN: "Redis is moving these keys to another node",
  WRONGPASS: "Redis does not accept the user name or password",
};
