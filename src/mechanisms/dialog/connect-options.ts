import { HoldfastError } from "../../kernel/errors.ts";
import type { Credit } from "./frames.ts";
import * as UNIT from "./units.ts";

export type DialogMode = "half-duplex" | "full-duplex" | "simplex-down" | "simplex-up";

export interface ConnectOptions {
  /** `full-duplex` unless given. */
  readonly mode?: DialogMode;
  /** Sync points by themselves every so many bytes (`"1MiB"`), and at most so many unconfirmed. Asks for `sync`. */
  readonly checkpoint?: { readonly every?: number | string; readonly window?: number };
  /** Minor and major sync points, and resynchronization. */
  readonly sync?: boolean;
  readonly activities?: boolean;
  /** The other side may refuse to finish. */
  readonly negotiatedRelease?: boolean;
  /** Bits of `TOKEN` that begin with the other side. */
  readonly theirTokens?: number;
  /** As in the HTTP header; a function is asked for each link. Never put into the URL. */
  readonly authorization?: string | (() => string | Promise<string>);
  readonly label?: string;
  readonly data?: Uint8Array;
  /** How long the dialog is to be kept without a link; 120,000 ms unless given. The server may allow less. */
  readonly holdMs?: number;
  /** What the server may have unacknowledged; 1,024 messages and 1 MiB unless given. */
  readonly credit?: Credit;
  readonly maxMessageBytes?: number;
  /** Own messages held until they are acknowledged: then `send` waits. 4 MiB unless given. */
  readonly outboxBytes?: number;
  /** Waits between attempts, doubling, with jitter; 100 and 10,000 ms unless given. */
  readonly reconnect?: { readonly minMs?: number; readonly maxMs?: number };
  /** Every resume is signed with a P-256 key that never leaves this process. */
  readonly proof?: boolean;
  /** Gives up opening. An open dialog is ended by `finish` or `abort`. */
  readonly signal?: AbortSignal;
}

export function unitsOf({
  mode = "full-duplex",
  checkpoint,
  sync,
  activities,
  negotiatedRelease,
}: ConnectOptions): number {
  let units: number = UNIT.urgent | UNIT.typed | MODES[mode];
  if (mode === "half-duplex") units |= UNIT.exceptions;
  if (sync === true || checkpoint !== undefined) units |= UNIT.minor | UNIT.major | UNIT.resync;
  if (activities === true) units |= UNIT.activity | UNIT.minor | UNIT.resync;
  return negotiatedRelease === true ? units | UNIT.release : units;
}

const MODES = {
  "half-duplex": UNIT.halfDuplex,
  "full-duplex": UNIT.duplex,
  "simplex-down": UNIT.simplexDown,
  "simplex-up": UNIT.simplexUp,
} as const;

export function bytesOf(size: number | string): number {
  if (typeof size === "number") return size;
  const [, count, unit = ""] = /^(\d+) *([KMG]i?B)?$/.exec(size) ?? [];
  const scale = unit.includes("i") ? 1024 : 1000;
  if (count === undefined) throw new HoldfastError("invalid-argument", `"${size}" is no size; "1MiB" is.`);
  return Number(count) * scale ** " KMG".indexOf(unit.charAt(0) || " ");
}
