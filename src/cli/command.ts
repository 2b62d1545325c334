import type { ParseArgsConfig } from "node:util";

export type Options = NonNullable<ParseArgsConfig["options"]>;
export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

/** Where a command reads and writes, so that tests can stand in for a terminal. */
export interface Terminal {
  readonly isTerminal: boolean;
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by an interrupt. */
  readonly signal: AbortSignal;
  out(text: string): void;
  error(text: string): void;
}

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** What comes after the command's name in its usage. */
  readonly usage: string;
  readonly options: Options;
  /** What each option means, and what else there is to know. */
  readonly help: string;
  /** @returns the exit code. */
  run(values: Values, words: readonly string[], terminal: Terminal): Promise<number>;
}

/** The exit codes of every command; `holdfast --help` lists them. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  /** A revocation ended every session, but some connection could not be proved closed. */
  incomplete: 5,
  /** A server was inspected, and something about it is to be mended. */
  wanting: 6,
  /** A transfer was interrupted; the same command goes on. */
  paused: 7,
  /** The bytes are not those they should be: a digest differs, or the file changed meanwhile. */
  altered: 8,
} as const;

/** A mistake in how a command was called, or a failure that it can explain; `exit` is its code. */
export class CommandError extends Error {
  readonly exit: number;

  constructor(message: string, exit: number = EXIT.usage) {
    super(message);
    this.exit = exit;
  }
}

export function textOf(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}
