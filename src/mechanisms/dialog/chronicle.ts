import { TOKEN_DATA } from "./numbers.ts";
import * as UNIT from "./units.ts";
import type { DialogMachine } from "./machine/machine.ts";

/** What a session's timeline is told. */
type Line = Readonly<Record<string, string | number>>;

/**
 * Tells a session's timeline what its own events do not: who has the turn, and which minor points are confirmed. A dialog may
 * change both a thousand times a second; a line is written now and then, with how things stand.
 */
export class Chronicle {
  readonly #machine: DialogMachine;
  readonly #write: (line: Line) => void;
  #turn: string | undefined;
  #minor: number;
  #timer: NodeJS.Timeout | undefined;
  #quietUntil = 0;

  constructor(machine: DialogMachine, write: (line: Line) => void) {
    this.#machine = machine;
    this.#write = write;
    this.#minor = machine.state.va - 1;
    this.#turn = this.#holder;
  }

  get #holder(): string | undefined {
    const { agreement, state } = this.#machine;
    if ((agreement.units & UNIT.halfDuplex) === 0) return undefined;
    return (state.tokens & TOKEN_DATA) !== 0 ? "initiator" : "responder";
  }

  /** Something may have changed. */
  look(now: number): void {
    const { agreement, state } = this.#machine;
    const hasPoint = (agreement.units & UNIT.minor) !== 0 && state.va - 1 > this.#minor;
    // After a restart the points before it are not confirmed any more.
    if (state.va - 1 < this.#minor) this.#minor = state.va - 1;
    if ((!hasPoint && this.#holder === this.#turn) || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#tell(), Math.max(0, this.#quietUntil - now));
    this.#timer.unref();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #tell(): void {
    this.#timer = undefined;
    this.#quietUntil = Date.now() + EVERY_MS;
    const turn = this.#holder;
    const minor = this.#machine.state.va - 1;
    const line: Line = {
      ...(turn !== undefined && turn !== this.#turn && { turn }),
      ...(minor > this.#minor && { minor }),
    };
    this.#turn = turn;
    this.#minor = minor;
    if (Object.keys(line).length > 0) this.#write(line);
  }
}

const EVERY_MS = 1_000;
