import { stripVTControlCharacters } from "node:util";
import type { SessionRow } from "../console/index.ts";
import type { Terminal } from "./command.ts";

export type Colour = "dim" | "bold" | "green" | "yellow" | "red" | "cyan";

const CODES: Readonly<Record<Colour, readonly [number, number]>> = {
  dim: [2, 22],
  bold: [1, 22],
  green: [32, 39],
  yellow: [33, 39],
  red: [31, 39],
  cyan: [36, 39],
};

/** Colours on a terminal that wants them (https://no-color.org), plain text everywhere else. */
export function painter(terminal: Terminal): (colour: Colour, text: string) => string {
  const plain =
    !terminal.isTerminal || terminal.env["NO_COLOR"] !== undefined || terminal.env["TERM"] === "dumb";
  return (colour, text) => {
    const [on, off] = CODES[colour];
    return plain ? text : `\u001b[${on}m${text}\u001b[${off}m`;
  };
}

/** What a peer sent must not be able to steer a terminal. */
export function safe(text: string): string {
  return stripVTControlCharacters(text).replaceAll(/\p{Cc}/gu, "�");
}

/** Rows under a heading; on a terminal the last column is cut to its width. */
export function table(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  terminal: Terminal,
): string {
  const paint = painter(terminal);
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => width(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === cells.length - 1 ? cell : cell + " ".repeat((widths[column] ?? 0) - width(cell)),
      )
      .join("  ");
  const lines = [paint("dim", line(heading)), ...rows.map((row) => cut(line(row), terminal))];
  return `${lines.join("\n")}\n`;
}

export function ago(at: number, now: number): string {
  return span(now - at);
}

export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes}m`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours}h` : `${Math.round(hours / 24)}d`;
}

export function clockTime(at: number): string {
  return new Date(at).toISOString().slice(11, 23);
}

export function stateOf(row: SessionRow, terminal: Terminal): string {
  const paint = painter(terminal);
  if (row.ended !== undefined) return paint(row.ended.graceful ? "dim" : "red", row.ended.reason);
  return paint(row.state === "established" ? "green" : "yellow", row.state);
}

/** A bar that redraws itself on a terminal, and nothing elsewhere. */
export function progressBar(
  terminal: Terminal,
  what: string,
): { show(done: number, total: number): void; end(): void } {
  let shown = false;
  return {
    show(done, total) {
      if (!terminal.isTerminal) return;
      shown = true;
      const filled = total === 0 ? BAR : Math.round((done / total) * BAR);
      terminal.error(`\r${what} [${"█".repeat(filled)}${"·".repeat(BAR - filled)}] ${done}/${total}`);
    },
    end() {
      if (shown) terminal.error("\n");
    },
  };
}

const BAR = 30;

function width(text: string): number {
  return stripVTControlCharacters(text).length;
}

function cut(line: string, terminal: Terminal): string {
  const excess = width(line) - terminal.columns;
  if (!terminal.isTerminal || excess <= 0) return line;
  return `${line.slice(0, line.length - excess - 1)}…`;
}
