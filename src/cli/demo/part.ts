import type { Kernel } from "../../kernel/index.ts";

/** Somebody invented. */
export interface Person {
  /** The principal of a web login and of a relay. */
  readonly name: string;
  /** The computer, as it names itself. At most 15 characters. */
  readonly computer: string;
  /** Of a network that is kept for documentation (RFC 5737). */
  readonly address: string;
  readonly agent: string;
}

/** What a part of the demo is given. */
export interface Stage {
  readonly kernel: Kernel;
  readonly people: readonly Person[];
  /** Hears of what went wrong without anybody waiting for it. */
  readonly onFault: (error: unknown) => void;
}

/** One mechanism with a little life in it: its own server, clients and backends, all on the loopback. */
export interface Part {
  readonly mechanism: string;
  /** One small thing happens: a session begins, moves or ends. Keeps the number of sessions bounded. */
  step(): Promise<void>;
  /** Ends every session it made, and closes all that it opened. */
  close(): Promise<void>;
}

/** How a mechanism joins the demo: one file here each. */
export type PartKind = (stage: Stage) => Promise<Part>;

/** @throws RangeError when there is nothing to pick from. */
export function pick<T>(from: readonly T[]): T {
  const one = from[Math.floor(Math.random() * from.length)];
  if (one === undefined) throw new RangeError("there is nothing to pick from");
  return one;
}

export function chance(probability: number): boolean {
  return Math.random() < probability;
}
