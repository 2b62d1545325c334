import type { Terminal } from "./command.ts";
import { safe, span } from "./text.ts";

/** Shows how far a transfer is: one line that redraws itself on a terminal, a plain line now and then elsewhere. */
export class TransferProgress {
  readonly #terminal: Terminal;
  readonly #name: string;
  readonly #quiet: boolean;
  readonly #now: () => number;
  #first: { readonly at: number; readonly bytes: number } | undefined;
  #last: { readonly done: number; readonly total: number | undefined } = { done: 0, total: undefined };
  #shownAt = -Infinity;
  #shownTenth = 0;
  #lineOpen = false;
  /** Set while the other side is away: what is waited for. */
  #away: string | undefined;

  constructor(
    terminal: Terminal,
    name: string,
    options: { readonly quiet: boolean; readonly now?: () => number },
  ) {
    this.#terminal = terminal;
    this.#name = safe(name);
    this.#quiet = options.quiet;
    this.#now = options.now ?? Date.now;
  }

  /** "45 % (1.2 GiB of 2.6 GiB)". */
  get standing(): string {
    const { done, total } = this.#last;
    return total === undefined ? size(done) : `${percent(done, total)} (${size(done)} of ${size(total)})`;
  }

  show(done: number, total: number | undefined, restarted: boolean): void {
    const begins = this.#first === undefined || done < this.#last.done;
    const moved = done !== this.#last.done;
    this.#last = { done, total };
    if (begins) {
      this.#first = { at: this.#now(), bytes: done };
      this.#shownTenth = tenth(done, total);
      if (restarted) this.say(`${this.#name}: what an earlier run had brought cannot be used; starting over`);
      else if (done > 0) this.say(`${this.#name}: going on at ${this.standing}`);
    }
    if (moved) this.#away = undefined;
    if (this.#quiet) return;
    if (this.#terminal.isTerminal) this.#redraw(done === total);
    else this.#line(done, total);
  }

  /** The other side does not answer, or not as it should. */
  waiting(why: string, inMs: number): void {
    const first = this.#away === undefined;
    this.#away = why;
    if (this.#quiet) return;
    if (this.#terminal.isTerminal) this.#redraw(true);
    else if (first) this.say(`${this.#name}: ${why} Trying again in ${span(inMs)}, and so on.`);
  }

  /** A line of its own. */
  say(text: string): void {
    if (this.#quiet) return;
    this.end();
    this.#terminal.error(`${text}\n`);
  }

  /** Leaves the line that redraws itself. */
  end(): void {
    if (this.#lineOpen) this.#terminal.error("\n");
    this.#lineOpen = false;
  }

  #redraw(now: boolean): void {
    const at = this.#now();
    if (!now && at - this.#shownAt < REDRAW_MS) return;
    this.#shownAt = at;
    const { done, total } = this.#last;
    const filled =
      total === undefined || total === 0 ? (total === 0 ? BAR : 0) : Math.floor((done / total) * BAR);
    const bar = total === undefined ? "" : ` [${"█".repeat(filled)}${"·".repeat(BAR - filled)}]`;
    const text = `${this.#name}${bar} ${this.standing}${this.#away === undefined ? this.#pace() : `  ${this.#away}`}`;
    const width = Math.max(20, this.#terminal.columns) - 1;
    this.#terminal.error(`\r\u001b[K${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
    this.#lineOpen = true;
  }

  /** Each tenth once; without a total every so often. */
  #line(done: number, total: number | undefined): void {
    const at = this.#now();
    const reached = tenth(done, total);
    const due = reached > this.#shownTenth || (total === undefined && at - this.#shownAt >= LINE_MS);
    if (!due) return;
    this.#shownTenth = reached;
    this.#shownAt = at;
    this.#terminal.error(`${this.#name}: ${this.standing}${this.#pace()}\n`);
  }

  #pace(): string {
    const { done, total } = this.#last;
    const seconds = (this.#now() - (this.#first?.at ?? 0)) / 1000;
    const moved = done - (this.#first?.bytes ?? 0);
    if (seconds < 0.5 || moved <= 0) return "";
    const left = total === undefined ? "" : `, ${span(((total - done) / (moved / seconds)) * 1000)} left`;
    return `  ${size(moved / seconds)}/s${done === total ? "" : left}`;
  }
}

/** Bytes in binary units, three digits. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

function percent(done: number, total: number): string {
  return `${total === 0 ? 100 : Math.floor((done / total) * 100)} %`;
}

function tenth(done: number, total: number | undefined): number {
  return total === undefined || total === 0 ? 0 : Math.floor((done / total) * 10);
}

const UNITS = ["KiB", "MiB", "GiB", "TiB"] as const;
const BAR = 24;
const REDRAW_MS = 100;
const LINE_MS = 10_000;
